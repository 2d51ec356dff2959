"""The list of the adapters of a run and the choice of one."""

from pathlib import Path

import pytest

from fishdvc.errors import CheckpointError
from fishdvc.lora.checkpoint_list import (
    Checkpoint,
    choose_checkpoint,
    read_checkpoints,
    write_checkpoints,
)


def listed(losses: dict[int, float]) -> list[Checkpoint]:
    return [
        Checkpoint(step=step, val_loss=loss, folder=f"step_{step:09d}" if step else None)
        for step, loss in losses.items()
    ]


RUN = listed({0: 1.0, 10: 4.04, 20: 4.5, 30: 4.0, 40: 4.0, 50: 4.2})


def test_a_written_list_is_read(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, RUN)
    assert read_checkpoints(tmp_path) == RUN


@pytest.mark.parametrize(
    ("choice", "tolerance", "step"),
    [
        ("last", 0.0, 50),
        ("best_val_loss", 9.9, 30),
        ("earliest_within_tolerance", 0.0, 30),
        ("earliest_within_tolerance", 0.0099, 30),
        ("earliest_within_tolerance", 0.0101, 10),
        ("step_000000020", 0.0, 20),
    ],
)
def test_an_adapter_is_chosen_by_loss_or_name(choice: str, tolerance: float, step: int) -> None:
    assert choose_checkpoint(RUN, choice, tolerance=tolerance).step == step


@pytest.mark.parametrize("choice", ["step_000000000", "step_10", "best", ""])
def test_an_unknown_choice_lists_the_adapters(choice: str) -> None:
    with pytest.raises(CheckpointError, match=rf"no '{choice}'; .* one of: step_000000010, step_0"):
        choose_checkpoint(RUN, choice, tolerance=0)


@pytest.mark.parametrize("choice", ["last", "best_val_loss", "earliest_within_tolerance"])
def test_a_list_without_adapters_is_an_error(choice: str) -> None:
    with pytest.raises(CheckpointError, match="no adapter was saved"):
        choose_checkpoint(RUN[:1], choice, tolerance=0)


@pytest.mark.parametrize("content", [None, "[", "5", '[{"step": 1}]', "[5]"])
def test_a_damaged_list_is_an_error(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "checkpoints.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"checkpoints\.json: expected .* train_lora again"):
        read_checkpoints(tmp_path)

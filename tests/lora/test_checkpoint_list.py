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


BASE, FIRST = (
    '{"step": 0, "val_loss": 2.0, "folder": null}',
    '{"step": 10, "val_loss": 1.0, "folder": "step_000000010"}',
)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        ("[", "Invalid JSON"),
        ("\xff", "Invalid JSON"),
        ("5", "Input should be a valid array, got 5"),
        ("{}", "Input should be a valid array, got {}"),
        ("[5]", "0: Input should be an object, got 5"),
        ('[{"step": 1}]', "0.val_loss: Field required"),
        (f"[{BASE.replace('2.0', 'null')}]", "0.val_loss: Input should be a valid number, got Non"),
        (f"[{BASE}, {FIRST.replace('10,', '10.5,')}]", "1.step: Input should be a valid integer"),
        ("[]", "the steps must begin with 0 and increase, got []"),
        (f"[{FIRST}]", "the steps must begin with 0 and increase, got [10]"),
        (f"[{BASE}, {FIRST}, {FIRST}]", "the steps must begin with 0 and increase, got [0, 10, 10"),
        (f"[{BASE}, {FIRST.replace('1.0', 'NaN')}]", "the loss of step 10 must be finite, got nan"),
        (f"[{BASE.replace('null', '7')}]", "0.folder: Input should be a valid string, got 7"),
        (
            f"[{BASE}, {FIRST.replace('step_', '../step_')}]",
            "the folder of step 10 must be step_000000010, got '../step_000000010'",
        ),
        (f"[{BASE.replace('null', chr(34) * 2)}]", "the folder of step 0 must be None, got ''"),
    ],
)
def test_a_damaged_list_is_an_error(content: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.json"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError) as error:
        read_checkpoints(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path}: expected the list that train_lora writes: ")
    assert problem in message
    assert message.endswith("; run train_lora again")

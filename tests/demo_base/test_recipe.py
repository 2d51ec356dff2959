import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from demo_base import patterns
from demo_base.initialize import code_entropy_bits
from demo_base.resumable import train
from demo_base.stages.train_tokenizer import learn_ranks, merge_pair
from tests.test_pipeline_graph import TOP, all_imported_by

RECIPE = yaml.safe_load((TOP / "demo_base" / "dvc.yaml").read_text())["stages"]


def test_the_most_frequent_pair_is_merged_first() -> None:
    assert learn_ranks("the then that is", 258)[256:] == [b"th", b" th"]


def test_merging_goes_from_the_left() -> None:
    assert merge_pair([b"a", b"a", b"a"], (b"a", b"a")) == [b"aa", b"a"]


def test_entropy_of_equally_frequent_codes_is_their_number_in_bits() -> None:
    codes = torch.stack([torch.arange(8), torch.zeros(8, dtype=torch.int64)])
    torch.testing.assert_close(code_entropy_bits(codes, 1024), torch.tensor([3.0, 0.0]))


def test_no_pattern_keeps_a_placeholder() -> None:
    rng = random.Random(0)
    assert not any("{" in patterns.prompt(rng) for _ in range(1000))


def test_numbers_are_written_in_figures() -> None:
    text = "Press one for twelve messages, or Twenty for someone."
    assert patterns.with_numerals(text) == "Press 1 for 12 messages, or 20 for someone."


def test_capital_and_full_stop_go_and_other_endings_stay() -> None:
    assert patterns.without_capital_and_stop("Press one.") == "press one"
    assert patterns.without_capital_and_stop("Is it late?") == "is it late?"


@pytest.mark.parametrize("stage", RECIPE)
def test_a_stage_of_the_recipe_depends_on_its_own_code(stage: str) -> None:
    script = TOP / "demo_base/stages" / f"{stage}.py"
    imported = {str(file.relative_to(TOP)) for file in all_imported_by(script)}
    own = {path for path in imported if path.startswith("demo_base/") and "__init__" not in path}
    assert own - set(RECIPE[stage]["deps"]) == set()


def test_the_transformers_are_trained_anew_when_texts_change() -> None:
    assert "demo_base/speech" in RECIPE["train_dual_ar"]["deps"]


@dataclass(frozen=True)
class Params:
    num_steps: int
    learning_rate: float = 0.1


class StoppedError(Exception):
    pass


def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(state: Path, stop_at: int | None) -> Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(2, 1)

        def step(number: int) -> dict[str, Tensor]:
            if number == stop_at:
                raise StoppedError
            return {"loss": layer(torch.tensor([1.0, number])).square().mean()}

        train(nn.ModuleDict({"layer": layer}), step, Params(num_steps=20), state=state)
        return layer.weight.detach()

    monkeypatch.setattr("demo_base.resumable.SAVE_EVERY_S", -1.0)
    whole = run(tmp_path / "whole.pt", stop_at=None)
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped.pt", stop_at=7)
    torch.testing.assert_close(run(tmp_path / "stopped.pt", stop_at=None), whole)

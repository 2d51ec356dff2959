import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.utils.parametrizations import weight_norm

from demo_base.recipe import patterns
from demo_base.recipe.crops import CropTrainingParams
from demo_base.recipe.initialize import code_entropy_bits, copy_weights
from demo_base.recipe.stages.encode import EncodeParams
from demo_base.recipe.stages.label_phones import PhonesParams
from demo_base.recipe.stages.synthesize import SynthesizeParams
from demo_base.recipe.stages.train_codec import (
    CodecParams,
    draw_num_kept,
    keep_first_codebooks,
)
from demo_base.recipe.stages.train_dual_ar import DualARParams
from demo_base.recipe.stages.train_tokenizer import TokenizerParams, learn_ranks, merge_pair
from demo_base.recipe.stages.write_texts import TextsParams
from demo_base.recipe.training_loop import (
    TrainingParams,
    average_gradients,
    train,
    with_seed_of_process,
)
from fishdvc.params import read_params
from fishdvc.storage.imports import imported_files
from fishdvc.validation import Checked

TOP = Path(__file__).parents[2]
RECIPE = TOP / "demo_base" / "recipe"
STAGES = yaml.safe_load((RECIPE / "dvc.yaml").read_text())["stages"]
SECTIONS: dict[str, type[Checked]] = {
    "texts": TextsParams,
    "synthesize": SynthesizeParams,
    "phones": PhonesParams,
    "codec": CodecParams,
    "head": CropTrainingParams,
    "tokenizer": TokenizerParams,
    "encode": EncodeParams,
    "dual_ar": DualARParams,
}


def test_the_most_frequent_pair_is_merged_first_from_left_to_right() -> None:
    assert learn_ranks("the then that is", 258)[256:] == [b"th", b" th"]
    assert merge_pair([b"a", b"a", b"a"], (b"a", b"a")) == [b"aa", b"a"]


def test_the_entropy_of_eight_equally_frequent_codes_is_three_bits() -> None:
    codes = torch.stack([torch.arange(8), torch.zeros(8, dtype=torch.int64)])
    torch.testing.assert_close(code_entropy_bits(codes, 1024), torch.tensor([3.0, 0.0]))


def test_the_latents_of_the_last_codebooks_are_dropped() -> None:
    latents = torch.arange(1.0, 13.0).reshape(2, 6, 1)
    kept = keep_first_codebooks(latents, torch.tensor([1, 3]), num_codebooks=3)
    assert kept[..., 0].tolist() == [[1, 2, 0, 0, 0, 0], [7, 8, 9, 10, 11, 12]]
    on_meta = keep_first_codebooks(latents.to("meta"), torch.tensor([1, 3], device="meta"), 3)
    assert on_meta.device.type == "meta"


def test_most_crops_keep_all_codebooks() -> None:
    params = read_params(RECIPE / "params.yaml", "codec", CodecParams)
    params = params.model_copy(update={"batch_size": 4000})
    drawn = draw_num_kept(np.random.default_rng(0), params, num_codebooks=8)
    counts = torch.bincount(drawn, minlength=9) / len(drawn)
    expected = torch.tensor([0.0, *[0.35 / 7] * 7, 0.65])
    torch.testing.assert_close(counts, expected, atol=0.03, rtol=0)


def test_merged_weights_are_copied_to_layers_with_weight_norm() -> None:
    target = nn.Sequential(weight_norm(nn.Conv1d(2, 3, 1)), nn.Linear(1, 1))
    source = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Linear(1, 1))
    copy_weights(source, target)
    audio = torch.randn(1, 2, 1)
    torch.testing.assert_close(target(audio), source(audio))


def test_texts_are_rewritten_like_labels() -> None:
    text = "Press one for twelve messages, or Twenty for someone."
    assert patterns.with_numerals(text) == "Press 1 for 12 messages, or 20 for someone."
    assert patterns.without_capital_and_stop("Press one.") == "press one"
    assert patterns.without_capital_and_stop("Is it late?") == "is it late?"


@pytest.mark.parametrize("section", SECTIONS)
def test_the_values_of_params_yaml_are_valid(section: str) -> None:
    read_params(RECIPE / "params.yaml", section, SECTIONS[section])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_imports(stage: str) -> None:
    files = imported_files(RECIPE / "stages" / f"{stage}.py")
    own = {path.relative_to(RECIPE).as_posix() for path in files if path.is_relative_to(RECIPE)}
    deps = set(STAGES[stage]["deps"])
    assert {path for path in own if not path.endswith("__init__.py")} <= deps
    assert all((RECIPE / path).exists() for path in deps if path.endswith((".py", ".json")))


def test_the_main_pipeline_ignores_the_recipe() -> None:
    command = [sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only"]
    listed = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True).stdout
    assert "fetch_base" in listed
    assert "demo_base" not in listed


class StoppedError(Exception):
    pass


def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = TrainingParams(
        seed=0, num_steps=20, learning_rate=0.1, warmup_steps=50, initial_weights=None
    )

    def run(state: Path, stop_at: int | None) -> Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(2, 1)

        def step(number: int) -> dict[str, Tensor]:
            if number == stop_at:
                raise StoppedError
            return {"loss": layer(torch.tensor([1.0, number])).square().mean()}

        train(nn.ModuleDict({"layer": layer}), step, params, state=state)
        return layer.weight.detach()

    monkeypatch.setattr("demo_base.recipe.training_loop.SAVE_EVERY_S", -1.0)
    whole = run(tmp_path / "whole.pt", stop_at=None)
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped.pt", stop_at=7)
    torch.testing.assert_close(run(tmp_path / "stopped.pt", stop_at=None), whole)


PARAMS_OF_TWO = TrainingParams(
    seed=5, num_steps=3, learning_rate=0.1, warmup_steps=1, initial_weights=None
)


def train_in_process(rank: int, folder: Path) -> None:
    """Train two weights towards a number of this process; save them and averaged gradients."""
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    # The processes start with different weights.
    weights = nn.ParameterList([torch.tensor([1.0 + rank]), torch.tensor([2.0])])
    number = with_seed_of_process(PARAMS_OF_TWO, rank).seed

    def step(_: int) -> dict[str, Tensor]:
        # Only one process uses the second weight.
        loss = (weights[0] - number).square() + (weights[1].square() if rank else 0)
        return {"loss": loss.sum()}

    train(nn.ModuleDict({"weights": weights}), step, PARAMS_OF_TWO, state=folder / "state.pt")
    trained = [weight.detach().clone() for weight in weights]
    weights[0].grad, weights[1].grad = torch.tensor([rank + 1.0]), None
    if rank:
        weights[1].grad = torch.tensor([3.0])
    average_gradients(list(weights))
    torch.save((trained, [weight.grad for weight in weights]), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_train_one_model_on_the_mean_of_their_gradients(tmp_path: Path) -> None:
    multiprocessing.spawn(train_in_process, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first == second
    trained, gradients = first
    assert gradients == [torch.tensor([1.5]), torch.tensor([1.5])]

    weights = nn.ParameterList([torch.tensor([1.0]), torch.tensor([2.0])])

    def step(_: int) -> dict[str, Tensor]:
        losses = (weights[0] - 5).square() + (weights[0] - 1005).square() + weights[1].square()
        return {"loss": losses.sum() / 2}

    train(nn.ModuleDict({"weights": weights}), step, PARAMS_OF_TWO, state=tmp_path / "one.pt")
    torch.testing.assert_close(trained, [weight.detach() for weight in weights])

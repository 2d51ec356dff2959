"""The modules of a base that an adapter changes."""

import numpy as np
import pytest

from fishdvc.lora.files import Adapter, ModuleAdapter
from fishdvc.lora.targets import adaptable_shapes, mismatches
from fishdvc.model.dual_ar import DualAR
from tests.model.full_size import FULL_SIZE

UNEQUAL = {
    "n_local_heads": 2,
    "fast_n_local_heads": 4,
    "fast_n_head": 8,
    "fast_intermediate_size": 48,
    "intermediate_size": 64,
    "n_head": 4,
    "dim": 32,
    "fast_dim": 32,
    "vocab_size": 1100,
    "n_layer": 2,
    "n_fast_layer": 1,
}


@pytest.mark.parametrize("tied", [False, True])
def test_the_shapes_of_a_config_are_those_of_its_model(tied: bool) -> None:
    config = FULL_SIZE.model_copy(update={**UNEQUAL, "tie_word_embeddings": tied})
    weights = DualAR(config, semantic_begin_id=50).state_dict()
    expected = {key: tuple(weight.shape) for key, weight in weights.items() if weight.ndim == 2}
    assert adaptable_shapes(config) == expected


def module(out: int, inputs: int, *, is_embedding: bool = False) -> ModuleAdapter:
    ones = [np.ones(shape, dtype=np.float32) for shape in ((2, inputs), (out, 2))]
    return ModuleAdapter(*ones, is_embedding)


SHAPES = {
    "embeddings.weight": (7, 3),
    "w1.weight": (5, 3),
    "0.wo.weight": (3, 3),
    "norm.weight": (3,),
}
SHAPES |= {"1.wo.weight": (3, 3), "output.weight": (7, 3)}
FITTING = {
    "embeddings": module(3, 7, is_embedding=True),
    "0.wo": module(3, 3),
    "1.wo": module(3, 3),
}


def adapter(modules: dict[str, ModuleAdapter], *targets: str) -> Adapter:
    return Adapter(modules, 1.0, targets)


@pytest.mark.parametrize("targets", [("embeddings", "wo"), ("embeddings", "0.wo", "1.wo")])
def test_an_adapter_of_all_targets_fits(targets: tuple[str, ...]) -> None:
    assert mismatches(SHAPES, adapter(FITTING, *targets)) == []


@pytest.mark.parametrize(
    ("changes", "targets", "problem"),
    [
        ({"1.wo": None}, ("embeddings", "wo"), "1.wo: target_modules names it, but it has no t"),
        ({}, ("embeddings", "wo", "w1"), "w1: target_modules names it, but it has no tensors"),
        ({}, ("embeddings", "0.wo"), "1.wo: has tensors, but target_modules does not name it"),
        ({"w2": module(3, 3)}, ("embeddings", "wo", "w2"), "w2.weight: missing in the base"),
        ({"0.wo": module(4, 3)}, ("embeddings", "wo"), r"0.wo.weight: adapted at shape (4, 3), "),
        (
            {"embeddings": module(7, 3, is_embedding=True)},
            ("embeddings", "wo"),
            "embeddings.weight: adapted at shape (3, 7), the base has (7, 3)",
        ),
    ],
)
def test_an_adapter_that_is_incomplete_or_of_another_base_does_not_fit(
    changes: dict[str, ModuleAdapter | None], targets: tuple[str, ...], problem: str
) -> None:
    modules = {name: m for name, m in {**FITTING, **changes}.items() if m is not None}
    (found,) = mismatches(SHAPES, adapter(modules, *targets))
    assert found.startswith(problem)


def test_adapted_embeddings_that_are_tied_to_the_head_do_not_fit() -> None:
    shapes = {key: shape for key, shape in SHAPES.items() if key != "output.weight"}
    (found,) = mismatches(shapes, adapter(FITTING, "embeddings", "wo"))
    assert found.startswith("embeddings: adapted, but tied")

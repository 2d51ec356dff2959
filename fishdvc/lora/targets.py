"""The modules of a base that adapters can change, and whether an adapter fits them."""

from collections.abc import Mapping
from typing import Literal, get_args

from fishdvc.errors import CheckpointError
from fishdvc.lora.files import Adapter
from fishdvc.model.config import DualARConfig

# fmt: off
Target = Literal[
    "embeddings", "codebook_embeddings", "fast_embeddings", "wqkv", "wo", "w1", "w2", "w3",
    "output", "fast_output",
]
# fmt: on
"""Modules that the reference implementation adapts. ``wqkv`` to ``w3`` are in every block of both
transformers."""
ALL_TARGETS: tuple[Target, ...] = get_args(Target)


def adaptable_shapes(config: DualARConfig) -> dict[str, tuple[int, int]]:
    """Return the shapes of the weights of all linear and embedding layers by key."""
    c = config
    shapes = {
        "embeddings": (c.vocab_size, c.dim),
        "codebook_embeddings": (c.num_codebooks * c.codebook_size, c.dim),
        "fast_embeddings": (c.codebook_size, c.fast_dim),
        "fast_output": (c.codebook_size, c.fast_dim),
    }
    if not c.tie_word_embeddings:
        shapes["output"] = (c.vocab_size, c.dim)
    for layers, count, dim, heads, groups, hidden in (
        ("layers", c.n_layer, c.dim, c.n_head, c.n_local_heads, c.intermediate_size),
        (
            "fast_layers",
            c.n_fast_layer,
            c.fast_dim,
            c.fast_n_head,
            c.fast_n_local_heads,
            c.fast_intermediate_size,
        ),
    ):
        for i in range(count):
            shapes |= {
                f"{layers}.{i}.attention.wqkv": (dim // heads * (heads + 2 * groups), dim),
                f"{layers}.{i}.attention.wo": (dim, dim),
                f"{layers}.{i}.feed_forward.w1": (hidden, dim),
                f"{layers}.{i}.feed_forward.w2": (dim, hidden),
                f"{layers}.{i}.feed_forward.w3": (hidden, dim),
            }
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def check_fit(shapes: Mapping[str, tuple[int, ...]], adapter: Adapter, *, where: str) -> None:
    """Check that an adapter fits the weights of a base, given by their shapes.

    Raises:
        CheckpointError: It does not. The message begins with ``where`` and names one problem.
    """
    if problems := mismatches(shapes, adapter):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{where}: does not fit this base: {problems[0]}{more}")


def mismatches(shapes: Mapping[str, tuple[int, ...]], adapter: Adapter) -> list[str]:
    """Compare the modules of an adapter with the weights of a base, given by their shapes.

    Returns:
        One line for each module that is missing in the base, has another shape there, is named by
        the config without tensors or the reverse, and for text embeddings that are tied to the
        vocabulary head.
    """
    problems = []
    if "embeddings" in adapter.modules and "output.weight" not in shapes:
        problems.append(
            "embeddings: adapted, but tied to the vocabulary head; train without this target"
        )
    for name, module in adapter.modules.items():
        shape = shapes.get(f"{name}.weight")
        expected = (len(module.lora_b), module.lora_a.shape[1])
        if module.is_embedding:
            expected = expected[::-1]
        if shape is None:
            problems.append(f"{name}.weight: missing in the base")
        elif shape != expected:
            problems.append(f"{name}.weight: adapted at shape {expected}, the base has {shape}")
        elif not _is_target(name, adapter.targets):
            problems.append(f"{name}: has tensors, but target_modules does not name it")
    names = (key.removesuffix(".weight") for key, shape in shapes.items() if len(shape) == 2)
    problems += [
        f"{name}: target_modules names it, but it has no tensors"
        for name in names
        if name not in adapter.modules and _is_target(name, adapter.targets)
    ]
    return problems


def _is_target(name: str, targets: tuple[str, ...]) -> bool:
    """Match as PEFT does."""
    return any(name == target or name.endswith(f".{target}") for target in targets)

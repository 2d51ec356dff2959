"""Prove that merged weights are the base's with an adapter, and nothing else.

Each weight is multiplied with random inputs and compared with the base's product and the adapter's
beside it: whatever went wrong, a transposition, a scale, a key, shows; what rounding explains does
not. Only one weight is in float32 at a time.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.apply import adapt_output
from fishdvc.lora.merge import Adapter, ModuleAdapter

NUM_INPUTS = 16
FLOAT32_SLACK = 1e-5
"""Relative error allowed to sums of products in float32, on either side."""


def check_merged(
    base: Mapping[str, Tensor], merged: Mapping[str, Tensor], adapter: Adapter
) -> None:
    """Compare merged weights with the base and its adapter.

    Args:
        base: Weights by key.
        merged: Weights by key.
        adapter: What should have been merged.

    Raises:
        CheckpointError: Keys, shapes or types changed, a weight without an adapter changed, or one
            with an adapter does not act as the base's and the adapter's together; lists all.
    """
    problems = list(_differences(base, merged, adapter))
    if problems:
        summary = "merged model: not the base with the adapter; report this"
        raise CheckpointError(list_problems(summary, problems))


def _differences(
    base: Mapping[str, Tensor], merged: Mapping[str, Tensor], adapter: Adapter
) -> Iterator[str]:
    for key in base.keys() ^ merged.keys():
        yield f"{key}: only in {'the base' if key in base else 'the merged model'}"
    generator = torch.Generator().manual_seed(0)
    for key in (key for key in base if key in merged):
        before, after = base[key], merged[key]
        module = adapter.modules.get(key.removesuffix(".weight"))
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            yield f"{key}: {tuple(after.shape)} of {after.dtype}, the base's is otherwise"
        elif module is None:
            if not torch.equal(before, after):
                yield f"{key}: has no adapter, but changed"
        else:
            error = _error(before, after, module, adapter.scale, generator)
            if not error <= 1:
                yield f"{key}: off by {error:.1f} times what rounding explains"


def _error(
    before: Tensor,
    after: Tensor,
    module: ModuleAdapter,
    scale: float,
    generator: torch.Generator,
) -> float:
    """Compare on random inputs; the largest difference in units of what rounding explains."""
    rounding = torch.finfo(after.dtype).eps / 2
    if module.is_embedding:
        rows = torch.randint(len(after), (NUM_INPUTS,), generator=generator)
        found, plain, inputs = after[rows].float(), before[rows].float(), rows
        explained = (rounding + FLOAT32_SLACK) * found.abs() + FLOAT32_SLACK * plain.abs()
    else:
        inputs = torch.randn(NUM_INPUTS, after.shape[1], generator=generator)
        found = functional.linear(inputs, after.float())
        plain = functional.linear(inputs, before.float())
        explained = functional.linear(inputs.abs(), after.float().abs())
        explained = (rounding + FLOAT32_SLACK) * explained
    expected = adapt_output(module, scale, before, inputs, plain)
    return float(((found - expected).abs() / explained.clamp(min=1e-30)).max())

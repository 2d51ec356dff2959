"""Check that merged weights compute the same as the base with the adapter.

Each weight is compared on random inputs. The arithmetic is independent of ``merge_adapter``: the
adapter is applied to activations. Only one weight is in float32 at a time.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.files import Adapter, ModuleAdapter

NUM_INPUTS = 16
FLOAT32_TOLERANCE = 1e-5
"""Relative error of sums of products in float32."""


def check_merged(
    base: Mapping[str, Tensor], merged: Mapping[str, Tensor], adapter: Adapter
) -> None:
    """Compare merged weights with the base and its adapter.

    Raises:
        CheckpointError: Keys, shapes or types changed, a weight without an adapter changed, or a
            weight with an adapter computes something else. The message lists every problem.
    """
    if problems := list(_differences(base, merged, adapter)):
        summary = "merged model: not the base with the adapter; report this bug"
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
            yield (
                f"{key}: expected {tuple(before.shape)} of {before.dtype}, "
                f"got {tuple(after.shape)} of {after.dtype}"
            )
        elif module is None:
            if not torch.equal(before, after):
                yield f"{key}: changed without an adapter"
        else:
            error = _error(before, after, module, adapter.scale, generator)
            if not error <= 1:
                yield f"{key}: the error is {error:.1f} times the largest rounding error"


def _error(
    before: Tensor, after: Tensor, module: ModuleAdapter, scale: float, generator: torch.Generator
) -> float:
    """Return the largest difference on random inputs, divided by the largest rounding error."""
    rounding = torch.finfo(after.dtype).eps / 2
    if module.is_embedding:
        inputs = torch.randint(len(after), (NUM_INPUTS,), generator=generator)
        before_output, after_output = before[inputs].float(), after[inputs].float()
        bound = (rounding + FLOAT32_TOLERANCE) * after_output.abs()
        bound += FLOAT32_TOLERANCE * before_output.abs()
    else:
        inputs = torch.randn(NUM_INPUTS, after.shape[1], generator=generator)
        before_output = functional.linear(inputs, before.float())
        after_output = functional.linear(inputs, after.float())
        bound = functional.linear(inputs.abs(), after.float().abs())
        bound *= rounding + FLOAT32_TOLERANCE
    expected = _adapt(before_output, inputs, before, module, scale)
    return float(((after_output - expected).abs() / bound.clamp(min=1e-30)).max())


def _adapt(
    output: Tensor, inputs: Tensor, weight: Tensor, module: ModuleAdapter, scale: float
) -> Tensor:
    """Add the adapter of a module to the output of its frozen weight."""
    lora_a, lora_b = torch.from_numpy(module.lora_a), torch.from_numpy(module.lora_b)
    if module.is_embedding:
        low_rank = functional.embedding(inputs, lora_a.T)
    else:
        low_rank = functional.linear(inputs, lora_a)
    adapted = output + scale * functional.linear(low_rank, lora_b)
    if module.magnitude is None:
        return adapted
    product = (lora_b @ lora_a).T if module.is_embedding else lora_b @ lora_a
    norms = torch.linalg.norm(weight.float() + scale * product, dim=0 if module.is_embedding else 1)
    rescaled: Tensor = adapted * (torch.from_numpy(module.magnitude) / norms)
    return rescaled

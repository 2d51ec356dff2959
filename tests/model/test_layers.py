"""Layers of the transformer, compared with results by hand."""

import pytest
import torch

from fishdvc.model.kv_cache import KVCache
from fishdvc.model.layers import (
    Linear,
    Unpadding,
    add_linear,
    attend,
    rotary_table,
    rotate,
)
from fishdvc.model.precision import float32_by_module


def test_neighbouring_pairs_are_rotated() -> None:
    rotary = torch.tensor([[1j, 1]])  # a quarter turn, then none
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    assert rotate(x, rotary).flatten().tolist() == [-2.0, 1.0, 3.0, 4.0]


def test_the_rotary_table_is_rounded_to_bfloat16() -> None:
    table = rotary_table(100, 8, 1e6)
    assert table.dtype == torch.float32
    assert torch.equal(table, table.bfloat16().float())
    angles = torch.outer(torch.arange(100.0), torch.tensor([1.0, 1e6**-0.25, 1e-3, 1e6**-0.75]))
    exact = torch.stack((angles.cos(), angles.sin()), dim=-1)
    torch.testing.assert_close(table, exact, rtol=0, atol=2**-8)
    assert not torch.equal(table, exact)


def test_attention_of_groups_equals_attention_with_repeated_heads() -> None:
    torch.manual_seed(0)
    queries, keys, values = (
        torch.randn(2, 6, 5, 4),
        torch.randn(2, 3, 5, 4),
        torch.randn(2, 3, 5, 4),
    )
    repeated = [x.repeat_interleave(2, dim=1) for x in (keys, values)]
    scores = queries @ repeated[0].transpose(2, 3) / 2
    scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    expected = scores.softmax(-1) @ repeated[1]
    torch.testing.assert_close(attend(queries, keys, values), expected)
    torch.testing.assert_close(attend(queries[:, :, 4:], keys, values), expected[:, :, 4:])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("num_rows", [1, 9, 16, 129])
def test_a_linear_layer_is_one_for_every_number_of_tokens(num_rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = Linear(6, 4, bias=bias), torch.randn(num_rows, 1, 6)
    expected = torch.nn.functional.linear(x, linear.weight, linear.bias)
    assert linear(x).grad_fn is not None
    with torch.no_grad():
        torch.testing.assert_close(linear(x), expected)
        assert linear(x).is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_add_linear_equals_the_layer_and_a_sum(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = Linear(6, 4, bias=False).to(dtype)
    x, residual = torch.randn(2, 3, 6).to(dtype), torch.randn(2, 3, 4).to(dtype)
    with torch.no_grad():
        torch.testing.assert_close(add_linear(residual, linear, x), residual + linear(x))
        # float32_by_module converts the weight in a hook of the layer.
        with float32_by_module(linear):
            exact = residual.float() + linear(x.float())
            assert torch.equal(add_linear(residual.float(), linear, x.float()), exact)


def test_unpadding_removes_padding_and_restores_zeros() -> None:
    unpadding = Unpadding.of(torch.tensor([[False, False, True], [False, True, True]]))
    padded = torch.arange(1.0, 7.0).reshape(2, 3, 1)
    unpadded = unpadding.remove(padded)
    assert unpadded.flatten().tolist() == [1.0, 2.0, 4.0]
    assert unpadding.restore(unpadded).squeeze(-1).tolist() == [[1.0, 2.0, 0.0], [4.0, 0.0, 0.0]]


def test_a_cache_returns_all_tokens_up_to_its_capacity() -> None:
    cache = KVCache(3)
    tokens = torch.arange(6.0).reshape(1, 1, 3, 2)
    cache.append(tokens[:, :, :2], -tokens[:, :, :2])
    keys, values = cache.append(tokens[:, :, 2:], -tokens[:, :, 2:])
    assert torch.equal(keys, tokens)
    assert torch.equal(values, -tokens)

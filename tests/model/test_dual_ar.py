"""Logits equal the reference; padding, caches and checkpointing do not change the results."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR, next_frames
from fishdvc.model.kv_cache import BatchCache, KVCache
from fishdvc.model.layers import Unpadding
from tests.model.full_size import FULL_SIZE


@pytest.fixture(scope="module")
def model(assets: Path) -> DualAR:
    return load_dual_ar(assets / "text2semantic").requires_grad_(False)


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/forward.safetensors")


@pytest.mark.parametrize("with_mask", [True, False])
def test_logits_equal_the_reference(
    model: DualAR, golden: dict[str, Tensor], with_mask: bool
) -> None:
    mask = golden["attention_masks"]
    output = model(golden["inputs"], mask if with_mask else None)
    positions = golden["positions"]
    valid = ~mask[:, positions]
    for name in ("token_logits", "codebook_logits"):
        got = getattr(output, name)[:, positions]
        torch.testing.assert_close(got[valid], golden[name][valid], rtol=0, atol=1e-4)


def test_the_full_size_model_has_the_published_keys(assets: Path) -> None:
    expected = json.loads((assets / "keys/text2semantic-1.5.json").read_text())
    with torch.device("meta"):
        model = DualAR(FULL_SIZE, semantic_begin_id=100012)
    model.bfloat16()
    got = {key: [list(t.shape), str(t.dtype)] for key, t in model.state_dict().items()}
    assert got == expected


def test_padding_does_not_change_valid_positions(model: DualAR, golden: dict[str, Tensor]) -> None:
    mask = golden["attention_masks"]
    lengths = (~mask).sum(1).tolist()
    scrambled = torch.where(mask.unsqueeze(1), 7, golden["inputs"])
    hidden = model.hidden_states(scrambled, Unpadding.of(mask))
    for row, length in enumerate(lengths):
        alone = model.hidden_states(golden["inputs"][row : row + 1, :, :length])[0]
        torch.testing.assert_close(hidden[row, :length], alone, rtol=1e-5, atol=1e-5)
        assert not hidden[row, length:].any()


def test_later_tokens_do_not_change_earlier_ones(model: DualAR, golden: dict[str, Tensor]) -> None:
    whole = model.hidden_states(golden["inputs"][:1])
    for length in (1, 2, 50):
        prefix = model.hidden_states(golden["inputs"][:1, :, :length])
        torch.testing.assert_close(prefix, whole[:, :length], rtol=1e-5, atol=1e-5)


def test_hidden_states_with_a_cache_equal_those_without(
    model: DualAR, golden: dict[str, Tensor]
) -> None:
    inputs = golden["inputs"][:, :, :50]
    caches = [KVCache(50) for _ in model.layers]
    parts = [model.hidden_states(inputs[..., :40], caches=caches)]
    parts += [model.hidden_states(inputs[..., t : t + 1], caches=caches) for t in range(40, 50)]
    whole = model.hidden_states(inputs)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)


def test_a_batch_at_different_positions_gives_the_hidden_states_of_each_sequence(
    model: DualAR, golden: dict[str, Tensor]
) -> None:
    inputs, lengths = golden["inputs"][:2, :, :50], torch.tensor([40, 7])
    cache = BatchCache(
        len(model.layers), 4, 2, 64, 8, dtype=torch.float32, device=torch.device("cpu")
    )
    prompts = [KVCache(40) for _ in model.layers]
    model.hidden_states(inputs[..., :40], caches=prompts)
    cache.fill(torch.tensor([2, 3]), prompts, lengths)
    cache.copy_rows(torch.tensor([2, 3]), torch.tensor([0, 1]))
    whole = [model.hidden_states(inputs[i : i + 1]) for i in range(2)]
    for step in range(10):
        places = lengths + step
        tokens = torch.stack([inputs[i, :, place] for i, place in enumerate(places)])
        hidden = model.next_hidden_states(tokens, cache, 50 if step % 2 else 64)
        expected = torch.stack([whole[i][0, place] for i, place in enumerate(places)])
        torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=1e-5)
        cache.positions += 1


def test_logits_of_some_tokens_are_those_of_the_whole_head(model: DualAR) -> None:
    torch.manual_seed(0)
    hidden, ids = torch.randn(3, 32), torch.tensor([1036, 5, 1028])
    torch.testing.assert_close(model.logits_of(ids, hidden), model.token_logits(hidden)[:, ids])


def test_fast_logits_with_a_cache_equal_those_without(model: DualAR) -> None:
    torch.manual_seed(0)
    hidden, codes = torch.randn(3, 32), torch.randint(0, 1024, (3, 8))
    places = torch.cat((hidden.unsqueeze(1), model.fast_embeddings(codes[:, :-1])), dim=1)
    caches = [KVCache(8) for _ in model.fast_layers]
    parts = [model.fast_logits(places[:, :2], caches)]
    parts += [model.fast_logits(places[:, k : k + 1], caches) for k in range(2, 8)]
    whole = model.codebook_logits(hidden, codes)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)


def test_codes_of_the_last_codebook_alone_are_not_a_frame() -> None:
    inputs = torch.zeros(1, 4, 4, dtype=torch.long)
    inputs[0, 1:, 1] = torch.tensor([0, 5, 0])
    inputs[0, 1:, 2] = torch.tensor([0, 0, 6])
    codes, is_frame = next_frames(inputs)
    assert codes.tolist() == [[[0, 5, 0], [0, 0, 6], [0, 0, 0], [0, 0, 0]]]
    assert is_frame.tolist() == [[True, False, False, False]]


def test_only_semantic_tokens_embed_codes(model: DualAR) -> None:
    inputs = torch.full((1, 9, 4), 3)
    inputs[0, 0] = torch.tensor([1035, 1036, 1036 + 1023, 1036 + 1024])
    embedded = model.embed(inputs)[0]
    code_embeddings = sum(model.codebook_embeddings(torch.tensor(3 + 1024 * k)) for k in range(8))
    is_semantic = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    expected = model.embeddings(inputs[0, 0]) + is_semantic * code_embeddings
    torch.testing.assert_close(embedded, expected)


def test_gradient_checkpointing_does_not_change_gradients(
    assets: Path, golden: dict[str, Tensor]
) -> None:
    gradients = []
    for num_checkpointed in (0, 3, 5):
        model = load_dual_ar(assets / "text2semantic")
        model.num_checkpointed = num_checkpointed
        output = model(golden["inputs"][:, :, :40], golden["attention_masks"][:, :40])
        (output.token_logits.logsumexp(-1).sum() + output.codebook_logits.square().sum()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


def test_tied_embeddings_are_the_vocabulary_head(assets: Path) -> None:
    config = load_dual_ar(assets / "text2semantic").config
    config = config.model_copy(update={"tie_word_embeddings": True})
    model = DualAR(config, semantic_begin_id=1036)
    assert not any(key.startswith("output") for key in model.state_dict())
    hidden = torch.randn(2, 32)
    expected = model.norm(hidden) @ model.embeddings.weight.T
    torch.testing.assert_close(model.token_logits(hidden), expected)

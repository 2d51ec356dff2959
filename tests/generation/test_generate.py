"""Generation: the reference's greedy sequences, and the rules of what may be drawn."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.errors import ParamsError
from fishdvc.generation.generate import generate
from fishdvc.generation.settings import Sampling
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.model.dual_ar import DualAR

SEMANTIC_BEGIN_ID = 1036
IM_END_ID = 1028
GREEDY = Sampling(temperature=0.7, top_p=1e-9, repetition_penalty=1.2)
RANDOM = Sampling(temperature=1.0, top_p=1.0, repetition_penalty=1.2)


def continued(model: DualAR, prompt: Tensor, sampling: Sampling = GREEDY, **options: Any) -> Tensor:
    """Continue one prompt."""
    defaults: dict[str, Any] = {"seeds": [0], "end_id": None}
    (codes,) = generate(model, [prompt], sampling=sampling, **(defaults | options))
    return codes


@pytest.fixture(scope="module")
def model(assets: Path) -> DualAR:
    return load_dual_ar(assets / "text2semantic")


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Tensor]:
    return load_file(assets / "text2semantic/greedy.safetensors")


@pytest.mark.parametrize("case", ["plain", "reference"])
def test_greedy_sequences_are_the_reference_s(
    model: DualAR, golden: dict[str, Tensor], case: str
) -> None:
    prompt = golden[f"{case}.prompt"]
    codes = continued(model, prompt, max_new_frames=24)
    new = torch.cat((codes[:1] + SEMANTIC_BEGIN_ID, codes))
    sequence = torch.cat((prompt, new), dim=1)
    torch.testing.assert_close(sequence, golden[f"{case}.sequence"].long(), rtol=0, atol=0)


def test_cached_generation_equals_full_forward(model: DualAR, golden: dict[str, Tensor]) -> None:
    prompt = golden["plain.prompt"].long()
    greedy = Sampling(temperature=1.0, top_p=1e-9, repetition_penalty=1.0)
    codes = continued(model, prompt, greedy, max_new_frames=20)
    sequence = torch.cat((prompt, torch.cat((codes[:1] + SEMANTIC_BEGIN_ID, codes))), dim=1)
    with torch.no_grad():
        logits = model(sequence.unsqueeze(0))
    before = slice(prompt.shape[1] - 1, -1)
    semantic = slice(SEMANTIC_BEGIN_ID, SEMANTIC_BEGIN_ID + 1024)
    assert torch.equal(logits.token_logits[0, before, semantic].argmax(-1), codes[0])
    assert torch.equal(logits.codebook_logits[0, before, 1:].argmax(-1).T, codes[1:])


def test_the_same_seed_gives_the_same_codes(model: DualAR, golden: dict[str, Tensor]) -> None:
    def run(seed: int) -> Tensor:
        return continued(model, golden["plain.prompt"], RANDOM, max_new_frames=6, seeds=[seed])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def favour(model: DualAR, monkeypatch: pytest.MonkeyPatch, id_: int, from_call: int = 0) -> None:
    """Make one id by far the likeliest main token, from some frame on."""
    calls = iter(range(1000))

    def token_logits(hidden: Tensor) -> Tensor:
        logits = type(model).token_logits(model, hidden).clone()
        if next(calls) >= from_call:
            logits[:, id_] = 100.0
        return logits

    monkeypatch.setattr(model, "token_logits", token_logits)


def test_the_end_token_ends_without_a_frame(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = golden["plain.prompt"]
    longer = continued(model, prompt, max_new_frames=8)
    favour(model, monkeypatch, IM_END_ID, from_call=3)
    codes = continued(model, prompt, max_new_frames=8, end_id=IM_END_ID)
    assert torch.equal(codes, longer[:, :3])


def test_the_end_token_may_come_first(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    favour(model, monkeypatch, IM_END_ID)
    codes = continued(model, golden["plain.prompt"], max_new_frames=8, end_id=IM_END_ID)
    assert (codes.shape, codes.dtype) == ((8, 0), torch.int64)


@pytest.mark.parametrize("id_", [0, SEMANTIC_BEGIN_ID - 1, 2062])
def test_ids_that_are_no_codes_are_never_drawn(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, id_: int
) -> None:
    favour(model, monkeypatch, id_)
    codes = continued(model, golden["plain.prompt"], RANDOM, max_new_frames=4)
    assert codes.shape == (8, 4)
    assert codes.min() >= 0
    assert codes.max() < 1024


def test_codes_unknown_to_the_codec_are_never_drawn(
    model: DualAR, golden: dict[str, Tensor]
) -> None:
    codes = continued(model, golden["plain.prompt"], RANDOM, max_new_frames=8, num_codes=7)
    assert codes.max() < 7


def test_the_first_frame_never_enters_the_penalty(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    favoured = SEMANTIC_BEGIN_ID + 500
    favour(model, monkeypatch, favoured)
    # Drawn first, then again unpenalized, then penalized from 100 to 0.001.
    greedy = Sampling(temperature=0.7, top_p=1e-9, repetition_penalty=1e5)
    codes = continued(model, golden["plain.prompt"], greedy, max_new_frames=19)
    assert codes[0, :2].tolist() == [500, 500]
    # The second frame leaves the window of 16 after 16 more.
    assert 500 not in codes[0, 2:18].tolist()
    assert codes[0, 18] == 500


def test_bad_settings_are_all_named(model: DualAR, golden: dict[str, Tensor]) -> None:
    with pytest.raises(ParamsError) as error:
        generate(
            model,
            [golden["plain.prompt"]],
            seeds=[1, 2],
            max_new_frames=480,
            sampling=Sampling(temperature=0.0, top_p=1.5, repetition_penalty=0.0),
            end_id=None,
            num_codes=1025,
        )
    names = (
        "temperature",
        "top_p",
        "repetition_penalty",
        "seeds",
        "num_codes",
        "max_seq_len = 512",
    )
    assert all(name in str(error.value) for name in names)

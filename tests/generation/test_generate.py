"""Generated codes: those of the reference implementation, and which ids may be drawn."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fishdvc.errors import ParamsError
from fishdvc.generation.generate import Generator
from fishdvc.generation.settings import Sampling
from fishdvc.model.dual_ar import DualAR

SEMANTIC_BEGIN_ID = 1036
IM_END_ID = 1028
GREEDY = Sampling(temperature=0.7, top_p=1e-9, repetition_penalty=1.2)
RANDOM = Sampling(temperature=1.0, top_p=1.0, repetition_penalty=1.2)


def continued(model: DualAR, prompt: Tensor, sampling: Sampling = GREEDY, **options: Any) -> Tensor:
    """Continue one prompt."""
    made = {"end_id": None, "num_codes": None} | options
    max_new_frames = made.pop("max_new_frames")
    generator = Generator(model, sampling=sampling, **made)
    (codes,) = generator.generate([prompt], seeds=[0], max_new_frames=max_new_frames)
    return codes


@pytest.mark.parametrize("case", ["plain", "reference"])
def test_greedy_sequences_equal_the_reference_implementation(
    model: DualAR, golden: dict[str, Tensor], case: str
) -> None:
    prompt = golden[f"{case}.prompt"]
    codes = continued(model, prompt, max_new_frames=24)
    new = torch.cat((codes[:1] + SEMANTIC_BEGIN_ID, codes))
    sequence = torch.cat((prompt, new), dim=1)
    torch.testing.assert_close(sequence, golden[f"{case}.sequence"].long(), rtol=0, atol=0)


def favour(model: DualAR, monkeypatch: pytest.MonkeyPatch, id_: int, from_call: int = 0) -> None:
    """Make one id by far the most likely token, from some frame on."""
    calls = iter(range(1000))

    def logits_of(ids: Tensor, hidden: Tensor) -> Tensor:
        logits = DualAR.logits_of(model, ids, hidden)
        if next(calls) >= from_call:
            logits[:, ids == id_] = 100.0
        return logits

    monkeypatch.setattr(model, "logits_of", logits_of)


@pytest.mark.parametrize("num_frames", [0, 3])
def test_the_end_token_adds_no_frame(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, num_frames: int
) -> None:
    prompt = golden["plain.prompt"]
    longer = continued(model, prompt, max_new_frames=8)
    favour(model, monkeypatch, IM_END_ID, from_call=num_frames)
    codes = continued(model, prompt, max_new_frames=8, end_id=IM_END_ID)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, longer[:, :num_frames])


@pytest.mark.parametrize("id_", [0, SEMANTIC_BEGIN_ID - 1, 2062])
def test_only_semantic_tokens_are_drawn(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, id_: int
) -> None:
    favour(model, monkeypatch, id_)
    codes = continued(model, golden["plain.prompt"], RANDOM, max_new_frames=4)
    assert codes.shape == (8, 4)
    assert codes.min() >= 0
    assert codes.max() < 1024


def test_codes_from_num_codes_on_are_not_drawn(model: DualAR, golden: dict[str, Tensor]) -> None:
    codes = continued(model, golden["plain.prompt"], RANDOM, max_new_frames=8, num_codes=7)
    assert codes.max() < 7


def test_the_first_frame_is_never_penalized(
    model: DualAR, golden: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    favoured = SEMANTIC_BEGIN_ID + 500
    favour(model, monkeypatch, favoured)
    # The favoured code is drawn first, drawn again without a penalty, then penalized to 0.001.
    greedy = Sampling(temperature=0.7, top_p=1e-9, repetition_penalty=1e5)
    codes = continued(model, golden["plain.prompt"], greedy, max_new_frames=19)
    assert codes[0, :2].tolist() == [500, 500]
    # The second frame leaves the window after 16 frames.
    assert 500 not in codes[0, 2:18].tolist()
    assert codes[0, 18] == 500


def test_a_prompt_without_room_for_the_frames_is_an_error(
    model: DualAR, golden: dict[str, Tensor]
) -> None:
    with pytest.raises(ParamsError, match="480 frames exceed max_seq_len = 512"):
        continued(model, golden["plain.prompt"], max_new_frames=480)

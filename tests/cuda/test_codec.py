"""The codec on a GPU: codes and audio of the reference, and padded batches."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def codec(assets: Path, device: torch.device) -> Codec:
    folder = assets / "codec"
    return load_codec(folder / "generator.pth", folder / "config.json", device=device)


@pytest.fixture(scope="module")
def golden(assets: Path, device: torch.device) -> dict[str, Tensor]:
    tensors = load_file(assets / "codec/io.safetensors")
    return {key: tensor.to(device) for key, tensor in tensors.items()}


@pytest.mark.parametrize("clip", range(3))
def test_codes_and_audio_equal_the_reference(
    codec: Codec, golden: dict[str, Tensor], clip: int
) -> None:
    audio = golden[f"audio.{clip}"].reshape(1, -1)
    codes, num_frames = codec.encode(audio, torch.tensor([audio.shape[1]]))
    assert codes.device.type == audio.device.type
    assert torch.equal(codes[0], golden[f"codes.{clip}"].long())
    decoded, _ = codec.decode(codes, num_frames)
    torch.testing.assert_close(decoded[0], golden[f"decoded.{clip}"], atol=1e-4, rtol=0)


def test_clips_in_a_batch_get_the_codes_of_the_reference(
    codec: Codec, golden: dict[str, Tensor]
) -> None:
    clips = [golden[f"audio.{i}"].flatten() for i in range(3)]
    audio = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=0.7)
    codes, num_frames = codec.encode(audio, torch.tensor([len(clip) for clip in clips]))
    for i, frames in enumerate(num_frames.tolist()):
        assert torch.equal(codes[i, :, :frames], golden[f"codes.{i}"].long())


def test_decoded_clips_in_a_batch_equal_the_reference(
    codec: Codec, golden: dict[str, Tensor]
) -> None:
    audio, num_samples = codec.decode(golden["batch.codes"], golden["batch.code_lengths"])
    assert torch.equal(num_samples, golden["batch.audio_lengths"])
    torch.testing.assert_close(audio, golden["batch.decoded"], atol=1e-4, rtol=0)

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fishdvc.codec.batches import padded_length
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.codec.config import FIREFLY, CodecConfig
from fishdvc.errors import AudioError, CheckpointError, DatasetError


def padded(clips: list[Tensor], *, filler: float = 0.0) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([clip.shape[-1] for clip in clips])
    return (
        torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=filler),
        lengths,
    )


def to_cpu(results: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return results[0].cpu(), results[1].cpu()


class Operations(TorchDispatchMode):
    """Records the inputs of convolutions and Fourier transforms."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions: list[tuple[torch.Size, bool, bool]] = []
        self.ffts: list[torch.Size] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name.startswith("conv"):
            is_depthwise = args[1].shape[1] == 1 < args[0].shape[1]
            self.convolutions.append((args[0].shape, args[0].is_contiguous(), is_depthwise))
        if name == "stft":
            self.ffts.append(args[0].shape)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("clip", range(3))
def test_codes_and_audio_equal_the_reference(
    any_codec: Codec, golden: dict[str, Tensor], clip: int
) -> None:
    codes, num_frames = to_cpu(any_codec.encode(*padded([golden[f"audio.{clip}"]])))
    assert codes.dtype == torch.int64
    assert torch.equal(codes[0], golden[f"codes.{clip}"].long())
    assert num_frames.tolist() == [codes.shape[-1]]
    audio, num_samples = to_cpu(any_codec.decode(codes, num_frames))
    assert num_samples.tolist() == [codes.shape[-1] * 2048]
    torch.testing.assert_close(audio[0], golden[f"decoded.{clip}"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("filler", [0.0, 0.7, float("nan")])
def test_a_clip_in_a_batch_gets_the_codes_that_it_gets_alone(
    any_codec: Codec, golden: dict[str, Tensor], filler: float
) -> None:
    clips = [golden[f"audio.{i}"] for i in range(3)]
    codes, num_frames = to_cpu(any_codec.encode(*padded(clips, filler=filler)))
    assert num_frames.tolist() == [16, 22, 19]
    for i, frames in enumerate(num_frames.tolist()):
        assert torch.equal(codes[i, :, :frames], golden[f"codes.{i}"].long())
        assert not codes[i, :, frames:].any()


def test_clips_of_very_different_lengths_get_the_codes_that_they_get_alone(
    codec: Codec, golden: dict[str, Tensor], request: pytest.FixtureRequest
) -> None:
    speech = torch.cat([golden[f"audio.{i}"] for i in range(3)])
    lengths = [2048, 70_000, 2049, 4095, len(speech), 4096, 5000, 33_000]
    clips = [speech[-length:] for length in lengths]
    alone = [codec.encode(*padded([clip]))[0][0] for clip in clips]
    request.getfixturevalue("padded_batches")
    codes, num_frames = codec.encode(*padded(clips, filler=float("nan")))
    assert num_frames.tolist() == [length // 2048 for length in lengths]
    for clip_codes, expected in zip(codes, alone, strict=True):
        assert torch.equal(clip_codes[:, : expected.shape[1]], expected)
        assert not clip_codes[:, expected.shape[1] :].any()


def test_a_longer_clip_in_the_batch_does_not_change_codes(
    any_codec: Codec, golden: dict[str, Tensor]
) -> None:
    length = int(golden["mate.num_samples"][0])
    clips = [golden["audio.0"][:length], golden["audio.1"]]
    codes, num_frames = to_cpu(any_codec.encode(*padded(clips)))
    assert torch.equal(codes[0, :, : num_frames[0]], golden["mate.codes_alone"].long())


def test_a_decoded_batch_equals_the_reference(any_codec: Codec, golden: dict[str, Tensor]) -> None:
    audio, num_samples = to_cpu(
        any_codec.decode(golden["batch.codes"], golden["batch.code_lengths"])
    )
    assert torch.equal(num_samples, golden["batch.audio_lengths"])
    torch.testing.assert_close(audio, golden["batch.decoded"], atol=1e-5, rtol=0)
    for samples, length in zip(audio, num_samples.tolist(), strict=True):
        assert not samples[length:].any()


def test_no_convolution_needs_a_plan_for_each_length(tiny_config: CodecConfig) -> None:
    # On the device "meta", operations have shapes and no values.
    codec = Codec(tiny_config).to("meta").eval()
    lengths = list(range(768, 768 + 100 * 1500, 1500))
    with Operations() as operations:
        for length in lengths[::10]:
            codec.encode(torch.zeros(1, length), torch.tensor([length]))
        codec.encode(torch.zeros(100, lengths[-1]), torch.tensor(lengths))
        num_padded_lengths = len({padded_length(length // 768) for length in lengths})
        assert num_padded_lengths == 11
        # For each padded length: one clip, full batches, and a batch of the other clips.
        assert 0 < len(set(operations.ffts)) <= 3 * num_padded_lengths
        # Two stages and the downsampling have their own numbers of channels or frames.
        assert 0 < len(set(operations.convolutions)) <= 3 * 3 * num_padded_lengths
        codec.decode(torch.zeros(1, 3, 5, dtype=torch.int64), torch.tensor([5]))
    for shape, is_contiguous, is_depthwise in operations.convolutions:
        assert is_contiguous, shape
        assert is_depthwise, shape


def test_samples_do_not_depend_on_later_frames_or_padding(
    any_codec: Codec, golden: dict[str, Tensor]
) -> None:
    codes = golden["codes.0"].long()[None].clone()
    whole, _ = to_cpu(any_codec.decode(codes, torch.tensor([codes.shape[-1]])))
    codes[..., 3:] = -1
    audio, num_samples = to_cpu(any_codec.decode(codes, torch.tensor([3])))
    length = int(num_samples[0])
    torch.testing.assert_close(audio[:, :length], whole[:, :length], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("extra", "frames"), [(0, 2), (-1, 1), (767, 2), (768, 3)])
def test_a_partial_frame_is_dropped(tiny_config: CodecConfig, extra: int, frames: int) -> None:
    codec = Codec(tiny_config).eval()
    num_samples = 2 * tiny_config.frame_length_samples + extra
    codes, num_frames = codec.encode(torch.randn(1, num_samples), torch.tensor([num_samples]))
    assert codes.shape == (1, 3, frames)
    assert num_frames.tolist() == [frames]
    audio, lengths = codec.decode(codes, num_frames)
    assert audio.shape == (1, frames * 768)
    assert lengths.tolist() == [frames * 768]


@pytest.mark.parametrize("num_samples", [2047, 4097])
def test_a_clip_of_unusable_length_is_rejected(codec: Codec, num_samples: int) -> None:
    message = "expected clips of 2048 to 4096 samples at 44100 Hz, got "
    with pytest.raises(AudioError, match=rf"{message}\[2048, {num_samples}\]"):
        codec.encode(torch.zeros(2, 4096), torch.tensor([2048, num_samples]))


@pytest.mark.parametrize(
    ("audio", "num_samples"),
    [
        (torch.zeros(4096), torch.tensor([4096])),
        (torch.zeros(2, 4096), torch.tensor([4096])),
        (torch.zeros(0, 4096), torch.zeros(0)),
        (torch.zeros(1, 4096, dtype=torch.int16), torch.tensor([4096])),
    ],
)
def test_audio_of_another_shape_or_type_is_rejected(
    codec: Codec, audio: Tensor, num_samples: Tensor
) -> None:
    with pytest.raises(AudioError, match=r"expected .* got"):
        codec.encode(audio, num_samples)


@pytest.mark.parametrize(
    ("codes", "num_frames", "problem"),
    [
        (torch.full((1, 8, 2), 1000), [2], "codes: expected 0 to 999, got 1000 to 1000"),
        (torch.full((1, 8, 2), -1), [1], "expected 0 to 999, got -1 to 0"),
        (torch.zeros(1, 8, 2, dtype=torch.int64), [3], r"got torch.int64 \(1, 8, 2\) and \[3\]"),
        (torch.zeros(1, 7, 2, dtype=torch.int64), [2], r"\(batch, 8, frames\)"),
        (torch.zeros(8, 2, dtype=torch.int64), [2], r"\(batch, 8, frames\)"),
        (torch.zeros(1, 8, 2), [2], "expected integers"),
    ],
)
def test_codes_of_another_codec_are_rejected(
    codec: Codec, codes: Tensor, num_frames: list[int], problem: str
) -> None:
    with pytest.raises(DatasetError, match=problem):
        codec.decode(codes, torch.tensor(num_frames))


def test_a_codec_without_decoder_encodes_only(assets: Path, golden: dict[str, Tensor]) -> None:
    folder = assets / "codec"
    encoder = load_codec(folder / "generator.pth", folder / "config.json", decoder=False)
    assert not any(key.startswith(("head", "quantizer.upsample")) for key in encoder.state_dict())
    codes, num_frames = encoder.encode(*padded([golden["audio.0"]]))
    assert torch.equal(codes[0], golden["codes.0"].long())
    with pytest.raises(CheckpointError, match="decoder=True"):
        encoder.decode(codes, num_frames)


def test_the_published_codec_has_exactly_the_published_tensors(assets: Path) -> None:
    keys = json.loads((assets / "keys" / "firefly-gan-vq-fsq-8x1024-21hz.json").read_text())
    with torch.device("meta"):
        codec = Codec(CodecConfig.read(FIREFLY))
    ours = {key: [list(v.shape), str(v.dtype)] for key, v in codec.state_dict().items()}
    assert ours == keys


def test_gradients_flow_from_the_waveform_to_every_weight(tiny_config: CodecConfig) -> None:
    torch.manual_seed(0)
    codec = Codec(tiny_config).eval()
    quantizer = codec.quantizer
    assert codec.head is not None
    assert quantizer.upsample is not None
    latents = quantizer.downsample(codec.backbone(codec.log_mel(torch.randn(2, 4 * 768))))
    quantized = quantizer.residual_fsq(latents)
    codec.head(quantizer.upsample(quantized.latents)).square().sum().backward()
    without = [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []

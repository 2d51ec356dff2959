from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fishdvc.audio.mel import LogMelSpectrogram
from fishdvc.codec.config import FIREFLY, CodecConfig


@pytest.fixture(scope="module")
def log_mel() -> LogMelSpectrogram:
    return LogMelSpectrogram(sample_rate_hz=44100, n_fft=2048, hop_length=512, num_mels=160)


@pytest.mark.parametrize("clip", range(3))
def test_mel_equals_the_reference(log_mel: LogMelSpectrogram, assets: Path, clip: int) -> None:
    golden = load_file(assets / "codec" / "io.safetensors")
    mel = log_mel(golden[f"audio.{clip}"][None])
    torch.testing.assert_close(mel[0], golden[f"mel.{clip}"], atol=1e-5, rtol=0)


def test_silence_has_the_minimum_magnitude(log_mel: LogMelSpectrogram) -> None:
    silence = log_mel(torch.zeros(1, 5120))
    expected = torch.log((log_mel.filterbank.sum(dim=1) * 1e-3).clamp(min=1e-5))
    torch.testing.assert_close(silence, expected[None, :, None].expand(1, 160, 10))


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 256), (1024, 255), (512, 512)])
@pytest.mark.parametrize("extra", [0, 1, -1])
def test_the_number_of_frames_is_the_number_of_whole_hops(
    n_fft: int, hop_length: int, extra: int
) -> None:
    log_mel = LogMelSpectrogram(
        sample_rate_hz=16000, n_fft=n_fft, hop_length=hop_length, num_mels=20
    )
    num_samples = 7 * hop_length + extra
    assert log_mel(torch.zeros(1, num_samples)).shape[-1] == num_samples // hop_length


def test_the_minimum_length_is_the_shortest_that_works(log_mel: LogMelSpectrogram) -> None:
    assert CodecConfig.read(FIREFLY).spec_transform.min_num_samples == 769
    assert log_mel(torch.zeros(1, 769)).shape == (1, 160, 1)
    with pytest.raises(RuntimeError):
        log_mel(torch.zeros(1, 768))


def test_spectrograms_of_clips_in_a_batch_equal_those_alone(log_mel: LogMelSpectrogram) -> None:
    torch.manual_seed(0)
    lengths = [769, 2048, 2049, 5119, 9000]
    audio = torch.full((5, 9000), float("nan"))
    for clip, length in zip(audio, lengths, strict=True):
        clip[:length] = torch.randn(length)
    mels = log_mel.of_clips(audio, torch.tensor(lengths), num_mel_frames=20)
    assert mels.shape == (5, 160, 20)
    assert mels.isfinite().all()
    for mel, clip, length in zip(mels, audio, lengths, strict=True):
        alone = log_mel(clip[None, :length])[0]
        torch.testing.assert_close(mel[:, : length // 512], alone, atol=1e-5, rtol=0)


def test_gradients_are_finite_on_silence(log_mel: LogMelSpectrogram) -> None:
    audio = torch.zeros(1, 4096, requires_grad=True)
    log_mel(audio).sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()

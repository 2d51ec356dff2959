from pathlib import Path

import pytest
import torch
from torch import Tensor

from demo_base.recipe.initialize import code_entropy_bits
from demo_base.recipe.losses import mel_distance
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import load_tokenizer

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = REPOSITORY / "demo_base" / "checkpoint"
CODEC = CHECKPOINT / "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
MAX_SIZE_MB = 20


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(CODEC, CODEC.with_suffix(".json"))


def test_the_checkpoint_is_small_enough_for_git() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) < MAX_SIZE_MB * 1e6


def test_tokenizer_model_and_codec_fit_together(codec: Codec) -> None:
    tokenizer = load_tokenizer(CHECKPOINT)
    model = load_dual_ar(CHECKPOINT)

    assert model.config.vocab_size >= tokenizer.num_ids
    assert model.semantic_begin_id == tokenizer.semantic_begin_id
    assert model.config.num_codebooks == codec.config.num_codebooks
    # As in the published model: 1,000 codes in tables of 1,024 rows.
    assert codec.config.codebook_size <= model.config.codebook_size == tokenizer.num_semantic
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}


@pytest.fixture(scope="module")
def round_trips(codec: Codec) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Encode and decode eight clips of an unheard voice: samples, codes, decoded samples."""
    clips = sorted((REPOSITORY / "data" / "raw" / "allison-en").glob("*.mp3"))[:8]
    assert len(clips) == 8
    trips = []
    for clip in clips:
        audio = torch.from_numpy(read_waveform(clip).samples).unsqueeze(0)
        codes, num_frames = codec.encode(audio, torch.tensor([audio.shape[1]]))
        decoded, num_samples = codec.decode(codes, num_frames)
        trips.append((audio[0], codes[0], decoded[0, : int(num_samples)]))
    return trips


def test_codes_of_an_unheard_voice_are_varied_and_decode_to_sound(
    codec: Codec, round_trips: list[tuple[Tensor, Tensor, Tensor]]
) -> None:
    for audio, _, decoded in round_trips:
        assert decoded.isfinite().all()
        assert len(decoded) > 0.8 * len(audio)
    codes = torch.cat([codes for _, codes, _ in round_trips], dim=1)
    assert code_entropy_bits(codes, codec.config.codebook_size).min() > 3


def test_decoded_speech_has_the_spectrum_of_the_original(
    codec: Codec, round_trips: list[tuple[Tensor, Tensor, Tensor]]
) -> None:
    """Measured: distance 0.81, mel error 0.69; distance to shifted speech 2.60."""
    distances, distances_elsewhere, mel_errors = [], [], []
    for audio, _, decoded in round_trips:
        spoken, heard = codec.log_mel(torch.stack((audio[: len(decoded)], decoded)))
        elsewhere = heard.roll(heard.shape[-1] // 2, dims=-1)
        distances.append(mel_distance(heard, spoken))
        distances_elsewhere.append(mel_distance(elsewhere, spoken))
        mel_errors.append((heard - spoken).abs().mean())
    assert torch.stack(distances).mean() < 0.87
    assert torch.stack(mel_errors).mean() < 0.75
    assert torch.stack(distances_elsewhere).mean() > 2.2

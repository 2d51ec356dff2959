from pathlib import Path

import pytest
import torch

from demo_base.initialize import code_entropy_bits
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec import Codec, load_codec
from fishdvc.model import load_dual_ar
from fishdvc.text import load_tokenizer

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = REPOSITORY / "demo_base" / "checkpoint"
CODEC = CHECKPOINT / "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
MAX_SIZE_MB = 20


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(CODEC, CODEC.with_suffix(".json"))


def test_files_are_small_enough_for_git() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) < MAX_SIZE_MB * 1e6


def test_tokenizer_model_and_codec_fit_together(codec: Codec) -> None:
    tokenizer = load_tokenizer(CHECKPOINT)
    model = load_dual_ar(CHECKPOINT)

    assert model.config.vocab_size >= tokenizer.num_ids
    assert model.semantic_begin_id == tokenizer.semantic_begin_id
    assert model.config.num_codebooks == codec.config.num_codebooks
    # As published: 1,000 codes in tables of 1,024 rows.
    assert codec.config.codebook_size <= model.config.codebook_size == tokenizer.num_semantic
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}


def test_codes_of_a_new_voice_carry_bits_and_come_back_as_sound(codec: Codec) -> None:
    clips = sorted((REPOSITORY / "data" / "raw" / "allison-en").glob("*.mp3"))[:8]
    codes, seconds_kept = [], []
    for clip in clips:
        audio = torch.from_numpy(read_waveform(clip).samples).unsqueeze(0)
        clip_codes, num_frames = codec.encode(audio, torch.tensor([audio.shape[1]]))
        decoded, num_samples = codec.decode(clip_codes, num_frames)
        assert decoded.isfinite().all()
        codes.append(clip_codes[0])
        seconds_kept.append(int(num_samples) / audio.shape[1])

    assert len(clips) == 8
    assert min(seconds_kept) > 0.8
    assert code_entropy_bits(torch.cat(codes, dim=1), codec.config.codebook_size).min() > 3

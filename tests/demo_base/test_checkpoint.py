from pathlib import Path

import numpy as np
import pytest
import torch

from demo_base.recipe.initialize import code_entropy_bits
from demo_base.recipe.losses import mel_distance
from demo_base.recipe.metrics import error_rates
from demo_base.recipe.sequences import collate
from fishdvc.audio.waveform import read_waveform
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.dataset.examples import tokenize_sentence
from fishdvc.evaluation.recognition import Recognizer
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Synthesizer
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.loss import dual_ar_loss

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = REPOSITORY / "demo_base" / "checkpoint"
CODEC = CHECKPOINT / "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
MAX_SIZE_MB = 20
HELD_OUT_TEXTS = [
    "Goodbye, and thank you for calling.",
    "That directory is not paused. Please try again.",
    "This ticket is disabled until Sunday morning.",
    "That is the most useful story I have ever heard.",
    "Let's find a cup of coffee under the bridge.",
    "About seventy people came to the party on Sunday.",
]
"""Texts of the recipe's held-out prompts and remarks. No voice speaks them in the training."""
RECORDINGS = REPOSITORY / "data" / "raw" / "allison-en"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(CODEC, CODEC.with_suffix(".json"))


def test_the_files_fit_together_and_are_small_enough_for_git(codec: Codec) -> None:
    tokenizer = load_tokenizer(CHECKPOINT)
    model = load_dual_ar(CHECKPOINT)

    assert model.config.vocab_size >= tokenizer.num_ids
    assert model.semantic_begin_id == tokenizer.semantic_begin_id
    assert model.config.num_codebooks == codec.config.num_codebooks
    # As in the published model: 1,000 codes in tables of 1,024 rows.
    assert codec.config.codebook_size <= model.config.codebook_size == tokenizer.num_semantic
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) < MAX_SIZE_MB * 1e6


def test_the_codec_keeps_the_spectrum_of_a_voice_that_is_not_in_its_training(codec: Codec) -> None:
    """Measured: distance 0.79, mel error 0.70; distance to shifted speech 2.54.

    The rate of the codes is low on purpose. Measured: 2.9 to 7.6 bits in a codebook.
    """
    clips = sorted(RECORDINGS.glob("*.mp3"))[:8]
    assert len(clips) == 8
    all_codes, distances, distances_elsewhere, mel_errors = [], [], [], []
    for clip in clips:
        audio = torch.from_numpy(read_waveform(clip).samples)
        codes, num_frames = codec.encode(audio.unsqueeze(0), torch.tensor([len(audio)]))
        all_codes.append(codes[0])
        decoded = codec.decode(codes, num_frames)[0][0]
        assert decoded.isfinite().all()
        assert len(decoded) > 0.8 * len(audio)
        spoken, heard = codec.log_mel(torch.stack((audio[: len(decoded)], decoded)))
        elsewhere = heard.roll(heard.shape[-1] // 2, dims=-1)
        distances.append(mel_distance(heard, spoken))
        distances_elsewhere.append(mel_distance(elsewhere, spoken))
        mel_errors.append((heard - spoken).abs().mean())
    assert torch.stack(distances).mean() < 0.84
    assert torch.stack(mel_errors).mean() < 0.75
    assert torch.stack(distances_elsewhere).mean() > 2.2
    assert code_entropy_bits(torch.cat(all_codes, dim=1), codec.config.codebook_size).min() > 2.3


@torch.no_grad()
def test_the_model_reads_the_text_of_a_voice_that_is_not_in_its_training(codec: Codec) -> None:
    """Measured: the right text lowers the loss by 2.60 nats."""
    tokenizer, model = load_tokenizer(CHECKPOINT), load_dual_ar(CHECKPOINT, dtype=torch.float32)
    clips = sorted(RECORDINGS.glob("*.mp3"))[:8]
    texts = [clip.with_suffix(".lab").read_text().strip() for clip in clips]
    codes = []
    for clip in clips:
        audio = torch.from_numpy(read_waveform(clip).samples)
        encoded, _ = codec.encode(audio.unsqueeze(0), torch.tensor([len(audio)]))
        codes.append(encoded[0].numpy().astype(np.int16))

    def token_loss(given: list[str]) -> float:
        losses = []
        for text, spoken in zip(given, codes, strict=True):
            sentence = tokenize_sentence(tokenizer, [text], spoken)
            batch = collate([[sentence]], padding_id=tokenizer.end_of_text_id)
            losses.append(float(dual_ar_loss(model, batch).token_loss))
        return sum(losses) / len(losses)

    assert token_loss([*texts[1:], texts[0]]) - token_loss(texts) > 1.5


def test_a_recognizer_understands_the_model(codec: Codec) -> None:
    """Measured: CER 0.00."""
    model = load_dual_ar(CHECKPOINT, dtype=torch.float32)
    synthesizer = Synthesizer(model, codec, load_tokenizer(CHECKPOINT))
    speech = synthesizer.speak(
        [(text, []) for text in HELD_OUT_TEXTS],
        seeds=range(len(HELD_OUT_TEXTS)),
        sampling=Sampling(),
        max_part_s=10.0,
    )
    recognizer = Recognizer(None)
    heard = [recognizer.transcribe(spoken.samples.numpy())[0] for spoken in speech]
    assert error_rates(HELD_OUT_TEXTS, heard)["sentence_cer"] < 0.2

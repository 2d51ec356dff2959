"""Files of the recipe, relative to its folder, in which the stages run."""

from pathlib import Path

PARAMS = Path("params.yaml")
CODEC_CONFIG = Path("codec.json")
MODEL_CONFIG = Path("model.json")
TEXTS = Path("texts")
KOKORO_VOICES = Path("package/voices")
"""Unpacked from the npm package kokoro-js."""
SPEECH = Path("speech")
"""``<voice>/<clip>.flac``, with ``<clip>.lab`` where the text is known, and for spoken clips
``<clip>.phones``."""
HELD_OUT_SPEECH = Path("held_out_speech")
"""As ``SPEECH``, for the evaluation only."""
PHONE_LABELS = Path("phone_labels")
"""``<voice>/<clip>.npy``, float16 ``(frames * LABELS_PER_FRAME, len(PHONES))``."""
CODES = Path("codes")
"""``<voice>/<clip>.npy``, int16 ``(num_codebooks, frames)``.

``<voice>@90`` is the voice at 0.9 of its speed.
"""
ENCODER_WEIGHTS = Path("trained/codec.pth")
"""The codec without its head."""
CODEC_WEIGHTS = Path("trained/generator.pth")
TOKENIZER = Path("trained/tokenizer")
MODEL_WEIGHTS = Path("trained/model.pth")
STATES = Path("work")
"""States to resume from. No outputs, because DVC removes outputs before it runs a stage."""
CHECKPOINT = Path("../checkpoint")
RECORDINGS = Path("../../data/raw/allison-en")
"""Clips of the demo's main voice."""
FINE_TUNED = Path("../../data/merged")
"""Checkpoint that the demo's pipeline writes."""
FIGURES = Path("figures.json")

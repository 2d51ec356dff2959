"""Measure what the demo base can do: its codec, its speech, and the voice that it learns.

Needs packages that nothing else does; demo_base/README.md has the commands.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from demo_base.held_out import SpokenText, machine_clips, real_clips, recorded_clip
from demo_base.listeners import (
    SAMPLE_RATE_HZ,
    Audio,
    Listener,
    VoiceEncoder,
    bootstrap_interval,
    error_rates,
)
from demo_base.sequences import collate
from demo_base.stages.assemble import CODEC_NAME
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.dataset.examples import tokenize_sentence
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Reference, Synthesizer
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.params import read_params
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.loss import dual_ar_loss
from fishdvc.validation import Checked

PARTS = ("codec", "base", "fine_tuned")
BASE_VOICE = "slt"
"""Of flite, in which most of the base's sentences are spoken."""
BATCH_SIZE = 25
SECONDS_PER_CHARACTER = 0.16
"""More than twice what flite takes: who has not ended by then never would."""

Figures = dict[str, float | list[float]]


class EvaluateParams(Checked):
    """Section ``evaluate`` of params.yaml."""

    num_clips: int = Field(description="Held-out recordings.", ge=2)
    min_s: float = Field(description="Shortest of them, in seconds.", gt=0)
    max_s: float = Field(description="Longest of them, in seconds.", gt=0)
    temperature: float = Field(description="Of generated speech.", gt=0)
    top_p: float = Field(description="Of generated speech.", gt=0, le=1)
    repetition_penalty: float = Field(description="Of generated speech.", gt=0)
    reference: str = Field(description="A clip of the demo's voice, its transcript beside it.")


class Evaluation:
    """Speaks and listens; every part gives figures by name."""

    def __init__(self, params: EvaluateParams, checkpoint: Path) -> None:
        self.params = params
        self.codec = _codec(checkpoint)
        self.listener = Listener()
        self.encoder = VoiceEncoder()

    def of_codec(self, clips: dict[str, list[SpokenText]]) -> dict[str, Figures]:
        """Encode and decode clips of each voice, and compare with the clips."""
        figures: dict[str, Figures] = {}
        for voice, spoken in clips.items():
            originals = [clip.audio for clip in spoken]
            decoded = [round_trip(self.codec, audio) for audio in originals]
            texts = [clip.text for clip in spoken]
            figures[f"{voice}, recorded"] = self._error_rates(texts, originals)
            before, after = self._voices(originals), self._voices(decoded)
            pairs = (before @ before.T)[*np.triu_indices(len(before), 1)]
            similarity = (before * after).sum(dim=1)
            figures[f"{voice}, decoded"] = {
                **self._error_rates(texts, decoded),
                "mel_error": _mean_mel_error(self.codec, originals, decoded),
                "similarity": float(similarity.mean()),
                "percentile_among_same_speaker_pairs": float(
                    100 * (pairs < similarity.mean()).float().mean()
                ),
            }
        return figures

    def of_texts(
        self,
        checkpoint: Path,
        texts: Sequence[str],
        voice: Sequence[Audio] = (),
        *,
        with_reference: bool = False,
    ) -> Figures:
        """Let a checkpoint speak texts; with clips of a voice, say how near it comes to them."""
        synthesizer = Synthesizer(
            load_dual_ar(checkpoint, dtype=torch.float32), self.codec, load_tokenizer(checkpoint)
        )
        sampling = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            repetition_penalty=self.params.repetition_penalty,
        )
        longest_s = max(map(len, texts)) * SECONDS_PER_CHARACTER + 1
        speech = [
            spoken
            for start in range(0, len(texts), BATCH_SIZE)
            for spoken in synthesizer.speak(
                texts[start : start + BATCH_SIZE],
                seeds=range(start, min(start + BATCH_SIZE, len(texts))),
                references=[self._reference(synthesizer)] if with_reference else [],
                sampling=sampling,
                max_part_s=longest_s,
            )
        ]
        audio = [spoken.samples.numpy() for spoken in speech]
        figures: Figures = {
            **self._error_rates(texts, audio),
            "end_rate": sum(spoken.ended for spoken in speech) / len(speech),
        }
        if voice:
            similarity = (self._voices(audio) @ self._voices(voice).T).mean(dim=1).tolist()
            figures["similarity"] = sum(similarity) / len(similarity)
            figures["similarity_interval"] = list(bootstrap_interval(similarity))
        return figures

    @torch.no_grad()
    def of_codes(self, checkpoint: Path, clips: Sequence[SpokenText]) -> Figures:
        """Give the loss of a voice's codes after their own text, and after that of another clip.

        To be compared with the training's own: the gap is what was learned by heart.
        """
        model, tokenizer = load_dual_ar(checkpoint, dtype=torch.float32), load_tokenizer(checkpoint)
        codes = [encoded(self.codec, clip.audio) for clip in clips]
        texts = [clip.text for clip in clips]
        figures: Figures = {}
        for name, read in (("", texts), ("_of_another_text", [*texts[1:], texts[0]])):
            losses = []
            for text, spoken in zip(read, codes, strict=True):
                sentence = tokenize_sentence(tokenizer, [text], spoken)
                batch = collate([[sentence]], padding_id=tokenizer.end_of_text_id)
                loss = dual_ar_loss(model, batch.inputs, batch.labels)
                losses.append((float(loss.token_loss), float(loss.code_loss)))
            token_loss, code_loss = np.mean(losses, axis=0)
            figures |= {f"token_loss{name}": token_loss, f"code_loss{name}": code_loss}
        return figures

    def _reference(self, synthesizer: Synthesizer) -> Reference:
        clip = recorded_clip(Path(self.params.reference))
        return synthesizer.encode_reference(torch.from_numpy(clip.audio), SAMPLE_RATE_HZ, clip.text)

    def _error_rates(self, texts: Sequence[str], audio: Sequence[Audio]) -> Figures:
        return {**error_rates(texts, [self.listener.transcribe(clip) for clip in audio])}

    def _voices(self, audio: Sequence[Audio]) -> Tensor:
        return torch.stack([self.encoder(clip) for clip in audio])


@torch.inference_mode()
def encoded(codec: Codec, audio: Audio) -> NDArray[np.int16]:
    """Encode a clip: ``(num_codebooks, frames)``."""
    codes, _ = codec.encode(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
    return codes[0].numpy().astype(np.int16)


@torch.inference_mode()
def round_trip(codec: Codec, audio: Audio) -> Audio:
    """Encode and decode a clip; up to a frame is lost at its end."""
    codes = torch.from_numpy(encoded(codec, audio)).long()[None]
    decoded, num_samples = codec.decode(codes, torch.tensor([codes.shape[-1]]))
    samples: Audio = decoded[0, : int(num_samples)].numpy()
    return samples


@torch.inference_mode()
def _mean_mel_error(codec: Codec, originals: Sequence[Audio], decoded: Sequence[Audio]) -> float:
    errors = []
    for before, after in zip(originals, decoded, strict=True):
        clips = torch.from_numpy(np.stack([before[: len(after)], after]))
        recorded, spoken = codec.log_mel(clips)
        errors.append(float((recorded - spoken).abs().mean()))
    return sum(errors) / len(errors)


def _codec(checkpoint: Path) -> Codec:
    path = checkpoint / f"{CODEC_NAME}.pth"
    return load_codec(path, path.with_suffix(".json"))


def main() -> None:
    """Write the figures as JSON and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the demo's clips of the voice")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the base")
    parser.add_argument("--merged", type=Path, help="the fine-tuned model, for fine_tuned")
    parser.add_argument("--figures", type=Path, required=True, help="JSON to write")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    args = parser.parse_args()
    params = read_params(args.params, "evaluate", EvaluateParams)
    evaluation = Evaluation(params, args.checkpoint)
    held_out = (args.texts / "held_out.txt").read_text().splitlines()
    third = len(held_out) // 3
    real = real_clips(args.data, size=params.num_clips, min_s=params.min_s, max_s=params.max_s)
    figures: dict[str, Figures] = {}
    if "codec" in args.only:
        machine = machine_clips(held_out[:third], BASE_VOICE)
        figures |= evaluation.of_codec({"Allison": real, BASE_VOICE: machine})
    if "base" in args.only:
        for i, kind in enumerate(("examples", "prompts", "spellings")):
            texts = held_out[i * third : (i + 1) * third]
            clips = machine_clips(texts, BASE_VOICE)
            figures[f"base, {kind}"] = evaluation.of_texts(args.checkpoint, texts)
            figures[f"base, {kind}, codes"] = evaluation.of_codes(args.checkpoint, clips)
    if "fine_tuned" in args.only:
        texts, voice = [clip.text for clip in real], [clip.audio for clip in real]
        for name, checkpoint in (("base", args.checkpoint), ("fine-tuned", args.merged)):
            for prompt in ("alone", "with a reference"):
                figures[f"{name}, {prompt}, Allison's texts"] = evaluation.of_texts(
                    checkpoint, texts, voice, with_reference=prompt != "alone"
                )
            figures[f"{name}, Allison's codes"] = evaluation.of_codes(checkpoint, real)
    args.figures.write_text(json.dumps(figures, indent=1) + "\n")
    for name, values in figures.items():
        print(f"{name}: " + ", ".join(f"{k} {np.round(v, 3)}" for k, v in values.items()))


if __name__ == "__main__":
    main()

"""Measure the demo's base: its codec, its speech, and the voice that it learns in fine-tuning.

README.md has the packages that this script needs, and the command.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from demo_base.recipe import paths
from demo_base.recipe.held_out import SpokenText, real_clips, recorded_clip, spoken_clips
from demo_base.recipe.metrics import (
    Audio,
    bootstrap_interval,
    error_rates,
    sentence_error_rates,
)
from demo_base.recipe.sequences import collate
from demo_base.recipe.stages.assemble import CODEC_NAME
from demo_base.recipe.stages.synthesize import SynthesizeParams
from fishdvc.codec.checkpoint import load_codec
from fishdvc.codec.codec import Codec
from fishdvc.dataset.examples import tokenize_sentence
from fishdvc.evaluation.naturalness import NaturalnessJudge
from fishdvc.evaluation.recognition import Recognizer
from fishdvc.evaluation.results import Utterance
from fishdvc.evaluation.samples import SAMPLE_RATE_HZ
from fishdvc.evaluation.similarity import SpeakerEncoder
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Reference, Synthesizer
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.params import read_params
from fishdvc.text.tokenizer import load_tokenizer
from fishdvc.training.loss import dual_ar_loss
from fishdvc.validation import Checked

PARTS = ("codec", "base", "fine_tuned")
KINDS = ("examples", "prompts", "spellings", "remarks")
"""Held-out sentences, in this order."""
MODELS = {"base": paths.CHECKPOINT, "fine-tuned": paths.FINE_TUNED}
PROMPTS = ("alone", "with a reference")
SECONDS_PER_CHARACTER = 0.16
"""More than twice the usual duration. Longer speech would not end by itself."""
SENTENCE_CERS = "sentence_cers"
"""Figure with a value per text, for paired differences. It is not printed."""

Figures = dict[str, float | list[float]]


class EvaluateParams(Checked):
    """Section ``evaluate`` of params.yaml."""

    num_clips: int = Field(description="Held-out recordings of Allison Smith.", ge=2)
    num_repetitions: int = Field(description="Times that each of their texts is spoken.", ge=1)
    min_s: float = Field(description="Shortest of them, in seconds.", gt=0)
    max_s: float = Field(description="Longest of them, in seconds.", gt=0)
    temperature: float = Field(description="Sampling temperature.", gt=0)
    top_p: float = Field(description="Top-p of the sampling.", gt=0, le=1)
    repetition_penalty: float = Field(description="Repetition penalty of the sampling.", gt=0)
    reference: str = Field(description="File name of a clip of the demo's voice.")


class Evaluation:
    """Computes figures by name. Loads the codec and the models of the metrics once."""

    def __init__(self, params: EvaluateParams, recognizers: Mapping[str, Recognizer]) -> None:
        self.params = params
        codec_path = paths.CHECKPOINT / f"{CODEC_NAME}.pth"
        self.codec = load_codec(codec_path, codec_path.with_suffix(".json"))
        self.reference = recorded_clip(paths.RECORDINGS / params.reference)
        self.recognizers = recognizers
        self.naturalness = NaturalnessJudge()
        self.speaker_encoder = SpeakerEncoder()

    def codec_figures(self, clips: Sequence[SpokenText], voice: str) -> dict[str, Figures]:
        """Compare clips of a voice with their round trip through the codec."""
        originals, texts = [clip.audio for clip in clips], [clip.text for clip in clips]
        decoded = [round_trip(self.codec, audio) for audio in originals]
        before, after = self._embeddings(originals), self._embeddings(decoded)
        pairs = (before @ before.T)[*np.triu_indices(len(before), 1)]
        similarity = (before * after).sum(dim=1).mean()
        return {
            f"{voice}, recorded": self._judged(texts, originals),
            f"{voice}, decoded": {
                **self._judged(texts, decoded),
                "mel_error": mean_mel_error(self.codec, originals, decoded),
                "similarity": float(similarity),
                "percentile_among_same_speaker_pairs": float(
                    100 * (pairs < similarity).float().mean()
                ),
            },
        }

    def speech_figures(
        self,
        checkpoint: Path,
        texts: Sequence[str],
        voice: Sequence[Audio] = (),
        *,
        with_reference: bool = False,
    ) -> Figures:
        """Speak texts with a checkpoint; with clips of a voice, compute the similarity to them."""
        synthesizer = Synthesizer(
            load_dual_ar(checkpoint, dtype=torch.float32), self.codec, load_tokenizer(checkpoint)
        )
        sampling = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            repetition_penalty=self.params.repetition_penalty,
        )
        references = [self._encoded_reference(synthesizer)] if with_reference else []
        speech = synthesizer.speak(
            [(text, references) for text in texts],
            seeds=range(len(texts)),
            sampling=sampling,
            max_part_s=max(map(len, texts)) * SECONDS_PER_CHARACTER + 1,
        )
        audio = [spoken.samples.numpy() for spoken in speech]
        figures: Figures = {
            **self._judged(texts, audio),
            "end_rate": sum(spoken.ended for spoken in speech) / len(speech),
        }
        if voice:
            similarity = (self._embeddings(audio) @ self._embeddings(voice).T).mean(dim=1).tolist()
            figures["similarity"] = sum(similarity) / len(similarity)
            figures["similarity_interval"] = list(bootstrap_interval(similarity))
        return figures

    @torch.no_grad()
    def loss_figures(self, checkpoint: Path, clips: Sequence[SpokenText]) -> Figures:
        """Compute the loss of clips' codes after their own text and after another clip's text.

        ``gap``, the difference of the token losses, shows how much the model uses the text for this
        voice. The difference from the training loss shows overfitting.
        """
        model, tokenizer = load_dual_ar(checkpoint, dtype=torch.float32), load_tokenizer(checkpoint)
        codes = [encode(self.codec, clip.audio) for clip in clips]
        texts = [clip.text for clip in clips]
        figures: dict[str, float] = {}
        for name, given in (("", texts), ("_of_another_text", [*texts[1:], texts[0]])):
            losses = []
            for text, spoken in zip(given, codes, strict=True):
                sentence = tokenize_sentence(tokenizer, [text], spoken)
                batch = collate([[sentence]], padding_id=tokenizer.end_of_text_id)
                loss = dual_ar_loss(model, batch)
                losses.append((float(loss.token_loss), float(loss.code_loss)))
            token_loss, code_loss = np.mean(losses, axis=0).tolist()
            figures |= {f"token_loss{name}": token_loss, f"code_loss{name}": code_loss}
        return {**figures, "gap": figures["token_loss_of_another_text"] - figures["token_loss"]}

    def _encoded_reference(self, synthesizer: Synthesizer) -> Reference:
        samples = torch.from_numpy(self.reference.audio)
        return synthesizer.encode_reference(samples, SAMPLE_RATE_HZ, self.reference.text)

    def _judged(self, texts: Sequence[str], audio: Sequence[Audio]) -> Figures:
        """Compute the error rates of each recognizer, and the mean DistillMOS."""
        figures: Figures = {}
        for name, recognizer in self.recognizers.items():
            heard = [recognizer.transcribe(clip)[0] for clip in audio]
            figures |= {f"{rate}{name}": v for rate, v in error_rates(texts, heard).items()}
            figures[f"{SENTENCE_CERS}{name}"] = sentence_error_rates(texts, heard)
        utterances = [
            Utterance(text=text, speaker="", samples=clip, sample_rate_hz=SAMPLE_RATE_HZ)
            for text, clip in zip(texts, audio, strict=True)
        ]
        rated = [
            self.naturalness.measure(utterance).values["distillmos"] for utterance in utterances
        ]
        return {**figures, "distillmos": sum(rated) / len(rated)}

    def _embeddings(self, audio: Sequence[Audio]) -> Tensor:
        return torch.stack([self.speaker_encoder(clip) for clip in audio])


@torch.inference_mode()
def encode(codec: Codec, audio: Audio) -> NDArray[np.int16]:
    """Encode a clip: ``(num_codebooks, frames)``."""
    codes, _ = codec.encode(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
    return codes[0].numpy().astype(np.int16)


@torch.inference_mode()
def round_trip(codec: Codec, audio: Audio) -> Audio:
    """Encode and decode a clip. Up to one frame is lost at its end."""
    codes = torch.from_numpy(encode(codec, audio)).long()[None]
    decoded, num_samples = codec.decode(codes, torch.tensor([codes.shape[-1]]))
    samples: Audio = decoded[0, : int(num_samples)].numpy()
    return samples


@torch.inference_mode()
def mean_mel_error(codec: Codec, originals: Sequence[Audio], decoded: Sequence[Audio]) -> float:
    """Compute the mean absolute error of the log-mel spectrograms."""
    errors = []
    for before, after in zip(originals, decoded, strict=True):
        recorded, spoken = codec.log_mel(torch.from_numpy(np.stack([before[: len(after)], after])))
        errors.append(float((recorded - spoken).abs().mean()))
    return sum(errors) / len(errors)


def cer_differences(before: Figures, after: Figures) -> Figures:
    """Subtract the error rates of the same texts, and compute the interval of the mean.

    A text that is spoken several times counts each time.
    """
    differences: Figures = {}
    for key, rates in after.items():
        if key.startswith(SENTENCE_CERS):
            difference = np.subtract(rates, before[key])
            name = key.replace(SENTENCE_CERS, "sentence_cer")
            differences[name] = float(difference.mean())
            differences[f"{name}_interval"] = list(bootstrap_interval(difference.tolist()))
    return differences


def main() -> None:
    """Write the figures as JSON and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument(
        "--recognizer",
        type=Path,
        metavar="FOLDER",
        help="a second recognizer, in the format of faster-whisper; its rates end in _FOLDER",
    )
    args = parser.parse_args()
    params = read_params(paths.PARAMS, "evaluate", EvaluateParams)
    recognizers = {"": Recognizer(None)}
    if args.recognizer:
        recognizers[f"_{args.recognizer.name}"] = Recognizer(str(args.recognizer))
    evaluation = Evaluation(params, recognizers)
    held_out_voices = read_params(paths.PARAMS, "synthesize", SynthesizeParams).held_out_voices
    clips = {voice: spoken_clips(paths.HELD_OUT_SPEECH / voice) for voice in held_out_voices}
    clips["Allison"] = real_clips(
        paths.RECORDINGS, size=params.num_clips, min_s=params.min_s, max_s=params.max_s
    )
    figures: dict[str, Figures] = {}
    if "codec" in args.only:
        for voice, of_voice in clips.items():
            figures |= evaluation.codec_figures(of_voice, voice)
    if "base" in args.only:
        held_out = (paths.TEXTS / "held_out.txt").read_text().splitlines()
        size = len(held_out) // len(KINDS)
        for i, kind in enumerate(KINDS):
            texts = held_out[i * size : (i + 1) * size]
            figures[f"base, {kind}"] = evaluation.speech_figures(paths.CHECKPOINT, texts)
        for voice, of_voice in clips.items():
            figures[f"base, {voice}'s codes"] = evaluation.loss_figures(paths.CHECKPOINT, of_voice)
    if "fine_tuned" in args.only:
        real = clips["Allison"]
        texts = [clip.text for clip in real] * params.num_repetitions
        voice_clips = [clip.audio for clip in real]
        for name, checkpoint in MODELS.items():
            for prompt in PROMPTS:
                figures[f"{name}, {prompt}, Allison's texts"] = evaluation.speech_figures(
                    checkpoint, texts, voice_clips, with_reference=prompt != "alone"
                )
        for prompt in PROMPTS:
            before, after = (figures[f"{name}, {prompt}, Allison's texts"] for name in MODELS)
            figures[f"difference, {prompt}, Allison's texts"] = cer_differences(before, after)
        figures["fine-tuned, Allison's codes"] = evaluation.loss_figures(paths.FINE_TUNED, real)
    paths.FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    for name, values in figures.items():
        shown = {k: v for k, v in values.items() if not k.startswith(SENTENCE_CERS)}
        print(f"{name}: " + ", ".join(f"{k} {np.round(v, 3)}" for k, v in shown.items()))


if __name__ == "__main__":
    main()

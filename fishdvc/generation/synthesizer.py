"""From text to a waveform: builds prompts, generates codes and decodes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fishdvc.audio.resample import resample
from fishdvc.codec.codec import Codec
from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.generation.generate import Generator
from fishdvc.generation.settings import MAX_PART_S, Sampling
from fishdvc.model.dual_ar import DualAR
from fishdvc.text.clean import is_speakable
from fishdvc.text.prompt import generation_prompt
from fishdvc.text.split import split_text
from fishdvc.text.tokenizer import Tokenizer

MAX_PART_CHARACTERS = 200
"""Length of a part in the reference implementation."""
NEXT_PART_SEED = 0x9E3779B97F4A7C15
"""Distance between the seeds of two parts: 2^64 divided by the golden ratio. Seeds of later parts
are far from the small seeds that people choose."""


@dataclass(frozen=True)
class Reference:
    """A clip of the voice to speak in.

    Attributes:
        text: Transcript of the clip.
        codes: ``(num_codebooks, frames)``, on the CPU.
    """

    text: str
    codes: Tensor


@dataclass(frozen=True)
class Speech:
    """The speech of one text.

    Attributes:
        samples: float32 in -1..1, ``(samples,)``, on the CPU.
        sample_rate_hz: Sample rate of the samples.
        codes: ``(num_codebooks, frames)``, on the CPU.
        ended: Whether every part ended by itself before the maximum length.
    """

    samples: Tensor
    sample_rate_hz: int
    codes: Tensor
    ended: bool


@dataclass
class _Task:
    """A text in progress: its references, its parts, and the codes of those already spoken."""

    parts: list[str]
    seed: int
    references: Sequence[Reference]
    max_frames: int = 1
    spoken: list[tuple[str, Tensor]] = field(default_factory=list)
    ended: bool = True


class Synthesizer:
    """A text-to-speech system: a dual-AR model, its codec and its tokenizer."""

    def __init__(self, model: DualAR, codec: Codec, tokenizer: Tokenizer) -> None:
        """Check that the codec fits the model. Both are in evaluation mode, on one device.

        Raises:
            CheckpointError: The codec has another number of codebooks, or larger ones.
        """
        expected, got = model.config, codec.config
        if (
            got.num_codebooks != expected.num_codebooks
            or got.codebook_size > expected.codebook_size
        ):
            raise CheckpointError(
                f"codec: the model expects {expected.num_codebooks} codebooks of up to "
                f"{expected.codebook_size} codes, got {got.num_codebooks} of {got.codebook_size}; "
                "use the model's codec"
            )
        self.model, self.codec, self.tokenizer = model, codec, tokenizer
        self._generator: Generator | None = None

    def encode_reference(self, samples: Tensor, sample_rate_hz: int, text: str) -> Reference:
        """Encode a clip of the voice to speak in.

        Args:
            samples: ``(samples,)``, at the loudness of the training clips.
            sample_rate_hz: Sample rate of the clip. It is resampled to the codec's.
            text: Transcript of the clip.

        Raises:
            AudioError: The clip is too short for the codec.
        """
        rate_hz = self.codec.config.sample_rate_hz
        audio = resample(samples, sample_rate_hz, rate_hz)
        num_samples = torch.tensor([len(audio)])
        codes, _ = self.codec.encode(audio.unsqueeze(0).to(self.codec.device), num_samples)
        return Reference(text, codes[0].cpu())

    def speak(
        self,
        texts: Sequence[tuple[str, Sequence[Reference]]],
        *,
        seeds: Sequence[int],
        sampling: Sampling | None = None,
        max_part_s: float | Sequence[float] = MAX_PART_S,
        on_frame: Callable[[], object] | None = None,
    ) -> list[Speech]:
        """Speak several texts together. Each gives the speech that it gives alone.

        A text of more than 200 characters is split at sentence ends. The prompt of a part holds
        the references and the speech of earlier parts, or only the newest parts if not all fit.

        Args:
            texts: At least one, each with clips of the voice. Without any, the model's own voice.
            seeds: One integer for each text.
            sampling: Sampling settings. None: those of the reference implementation.
            max_part_s: Maximum length of the speech of one part, in seconds, of all or of each.
            on_frame: Called after each step, which adds a frame to each text of a batch.

        Raises:
            ParamsError: A text has nothing to speak, or a prompt does not fit into the model.
        """
        config = self.codec.config
        tasks = [_task(*text, seed) for text, seed in zip(texts, seeds, strict=True)]
        limits_s = [max_part_s] * len(texts) if isinstance(max_part_s, int | float) else max_part_s
        for task, limit_s in zip(tasks, limits_s, strict=True):
            num_samples = limit_s * config.sample_rate_hz
            task.max_frames = int(num_samples / config.frame_length_samples) or 1
        generator = self._generator_for(sampling or Sampling())
        for index in range(max(len(task.parts) for task in tasks)):
            current = [task for task in tasks if index < len(task.parts)]
            codes = generator.generate(
                [self._prompt(task, index) for task in current],
                seeds=[(task.seed + index * NEXT_PART_SEED) % 2**63 for task in current],
                max_new_frames=[task.max_frames for task in current],
                on_frame=on_frame,
            )
            for task, part_codes in zip(current, codes, strict=True):
                task.spoken.append((task.parts[index], part_codes))
                task.ended &= part_codes.shape[1] < task.max_frames
        return self._decode(tasks)

    def _generator_for(self, sampling: Sampling) -> Generator:
        """Return the generator of the last call if its sampling settings are the same."""
        if self._generator is None or self._generator.sampling != sampling:
            self._generator = Generator(
                self.model,
                sampling=sampling,
                end_id=self.tokenizer.im_end_id,
                num_codes=self.codec.config.codebook_size,
            )
        return self._generator

    def _prompt(self, task: _Task, index: int) -> Tensor:
        given = [(reference.text, reference.codes.numpy()) for reference in task.references]
        earlier = [(text, codes.numpy()) for text, codes in task.spoken if codes.shape[1]]
        while True:
            prompt = generation_prompt(
                self.tokenizer,
                task.parts[index],
                [*given, *earlier],
                num_codebooks=self.model.config.num_codebooks,
            )
            fits = prompt.shape[1] + task.max_frames <= self.model.config.max_seq_len
            if fits or not earlier:
                return torch.from_numpy(prompt)
            del earlier[0]

    def _decode(self, tasks: Sequence[_Task]) -> list[Speech]:
        codes = [torch.cat([part for _, part in task.spoken], dim=1) for task in tasks]
        num_frames = torch.tensor([task_codes.shape[1] for task_codes in codes])
        by_frame = [task_codes.T for task_codes in codes]
        padded = pad_sequence(by_frame, batch_first=True).transpose(1, 2)
        samples, num_samples = self.codec.decode(padded.to(self.codec.device), num_frames)
        rate_hz = self.codec.config.sample_rate_hz
        return [
            Speech(task_samples[:length].cpu(), rate_hz, task_codes, task.ended)
            for task_samples, length, task_codes, task in zip(
                samples, num_samples.tolist(), codes, tasks, strict=True
            )
        ]


def _task(text: str, references: Sequence[Reference], seed: int) -> _Task:
    if not is_speakable(text):
        raise ParamsError(f"{text!r}: nothing to speak in it; expected a letter or digit")
    return _Task(split_text(text, MAX_PART_CHARACTERS), seed, references)

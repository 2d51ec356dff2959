"""From text to a waveform: prompts, codes and the codec put together.

Knows neither files nor adapters: whoever holds the model may lay one over it meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torchaudio.functional
from torch import Tensor

from fishdvc.codec.codec import Codec
from fishdvc.errors import ParamsError, list_problems
from fishdvc.generation.generate import generate
from fishdvc.generation.settings import MAX_PART_S, MAX_SEED, Sampling
from fishdvc.model.dual_ar import DualAR
from fishdvc.text.prompt import generation_prompt
from fishdvc.text.split import split_text
from fishdvc.text.tokenizer import Tokenizer

MAX_PART_CHARACTERS = 200
"""The reference implementation's length of a part."""
NEXT_PART_SEED = 0x9E3779B97F4A7C15
"""2^64 by the golden ratio: seeds of later parts lie far from those that people choose."""


@dataclass(frozen=True)
class Reference:
    """A clip of the voice to speak in.

    Attributes:
        text: What it says.
        codes: ``(num_codebooks, frames)``.
    """

    text: str
    codes: Tensor


@dataclass(frozen=True)
class Speech:
    """A text, spoken.

    Attributes:
        samples: float32 in -1..1, ``(samples,)``, on the CPU.
        sample_rate_hz: Of the samples.
        codes: ``(num_codebooks, frames)``.
        ended: Whether every part ended by itself, not at the longest time allowed.
    """

    samples: Tensor
    sample_rate_hz: int
    codes: Tensor
    ended: bool


@dataclass
class _Task:
    """A text on its way: its parts, and what was spoken of them."""

    parts: list[str]
    seed: int
    spoken: list[tuple[str, Tensor]] = field(default_factory=list)
    ended: bool = True


class Synthesizer:
    """A model, the codec of its codes and the tokenizer of its texts."""

    def __init__(self, model: DualAR, codec: Codec, tokenizer: Tokenizer) -> None:
        """Take what belongs together; model and codec on one device, in evaluation mode."""
        self.model, self.codec, self.tokenizer = model, codec, tokenizer

    def encode_reference(self, samples: Tensor, sample_rate_hz: int, text: str) -> Reference:
        """Encode a clip of the voice to speak in.

        Args:
            samples: ``(samples,)``, at the loudness of the clips that the voice was trained on.
            sample_rate_hz: Of the samples; any.
            text: What it says.
        """
        resampled = torchaudio.functional.resample(
            samples, sample_rate_hz, self.codec.config.sample_rate_hz
        )
        audio = resampled.unsqueeze(0).to(self.codec.device)
        codes, _ = self.codec.encode(audio, torch.tensor([audio.shape[1]], device=audio.device))
        return Reference(text, codes[0])

    def speak(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int],
        references: Sequence[Reference] = (),
        sampling: Sampling | None = None,
        max_part_s: float = MAX_PART_S,
        on_frame: Callable[[int], None] | None = None,
    ) -> list[Speech]:
        """Speak texts, all at once; each becomes what it becomes alone with its seed.

        A text of more than 200 characters is split at sentence ends. Each part hears the earlier
        ones: they stand in its prompt after the references, the newest as far as there is room.

        Args:
            texts: At least one; none empty.
            seeds: One for each.
            references: Clips of the voice, none for the model's own.
            sampling: How to draw; None: as the reference implementation.
            max_part_s: Longest speech of one part, in seconds.
            on_frame: Called with the number of frames of the present parts, after each.

        Raises:
            ParamsError: A text is empty, seeds are missing, a setting is out of range, or a prompt
                does not fit into the model.
            DatasetError: The codes of a reference have another shape or range.
        """
        sampling = sampling or Sampling()
        max_new_frames = int(
            max_part_s * self.codec.config.sample_rate_hz / self.codec.config.frame_length_samples
        )
        tasks = self._tasks(texts, seeds)
        for number in range(max(len(task.parts) for task in tasks)):
            current = [task for task in tasks if number < len(task.parts)]
            prompts = [self._prompt(task, number, references, max_new_frames) for task in current]
            codes = generate(
                self.model,
                prompts,
                seeds=[(task.seed + number * NEXT_PART_SEED) % 2**63 for task in current],
                max_new_frames=max_new_frames,
                sampling=sampling,
                end_id=self.tokenizer.im_end_id,
                num_codes=self.codec.config.codebook_size,
                on_frame=on_frame,
            )
            for task, of_part in zip(current, codes, strict=True):
                task.spoken.append((task.parts[number], of_part))
                task.ended &= of_part.shape[1] < max_new_frames
        return [self._decode(task) for task in tasks]

    def _tasks(self, texts: Sequence[str], seeds: Sequence[int]) -> list[_Task]:
        problems = [f"text {i + 1}: empty" for i, text in enumerate(texts) if not text.strip()]
        if not texts:
            problems.append("texts: at least one expected, got none")
        if len(seeds) != len(texts):
            problems.append(f"seeds: one for each of {len(texts)} texts expected, got {len(seeds)}")
        problems += [f"seeds: 0..2^63-1 expected, got {s}" for s in seeds if not 0 <= s <= MAX_SEED]
        if problems:
            raise ParamsError(list_problems("speak: cannot start", problems))
        return [
            _Task(split_text(text, MAX_PART_CHARACTERS), seed)
            for text, seed in zip(texts, seeds, strict=True)
        ]

    def _prompt(
        self, task: _Task, number: int, references: Sequence[Reference], max_new_frames: int
    ) -> Tensor:
        given = [(reference.text, reference.codes.cpu().numpy()) for reference in references]
        # A part of no frames has nothing to say about the next.
        earlier = [(text, codes.cpu().numpy()) for text, codes in task.spoken if codes.shape[1]]
        while True:
            prompt = generation_prompt(
                self.tokenizer,
                task.parts[number],
                [*given, *earlier],
                num_codebooks=self.model.config.num_codebooks,
            )
            fits = prompt.shape[1] + max_new_frames <= self.model.config.max_seq_len
            if fits or not earlier:
                return torch.from_numpy(prompt).to(self.codec.device)
            del earlier[0]

    def _decode(self, task: _Task) -> Speech:
        codes = torch.cat([of_part for _, of_part in task.spoken], dim=1)
        num_frames = torch.tensor([codes.shape[1]], device=codes.device)
        rate_hz = self.codec.config.sample_rate_hz
        if not codes.shape[1]:
            return Speech(torch.zeros(0), rate_hz, codes, task.ended)
        decoded, num_samples = self.codec.decode(codes.unsqueeze(0), num_frames)
        return Speech(decoded[0, : int(num_samples)].cpu(), rate_hz, codes, task.ended)

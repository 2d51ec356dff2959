"""Speak the sentences of an evaluation with the base and with adapters, and cache the speech."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save_file
from torch import Tensor

from fishdvc.base.folder import MODEL_FILES
from fishdvc.codec.config import CodecConfig
from fishdvc.device import choose_device, has_bfloat16
from fishdvc.evaluation.results import Utterance
from fishdvc.evaluation.sentences import Clip, Task
from fishdvc.generation.loading import load_synthesizer
from fishdvc.generation.settings import Sampling
from fishdvc.generation.synthesizer import Reference, Synthesizer
from fishdvc.lora.files import CONFIG_NAME, WEIGHTS_NAME
from fishdvc.lora.merge import read_adapter_for, use_adapter
from fishdvc.model.checkpoint import load_weights
from fishdvc.storage.cache import FileCache, combined_key, content_hash
from fishdvc.storage.imports import imported_files

FULL_SCALE = 32767
"""Speech is stored as 16-bit integers."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Speaker:
    """Speaks all tasks with the base or an adapter, or reads the speech from the cache.

    The base and the codec are loaded when speech is not in the cache. Adapters are then merged into
    this one base in turn.

    Attributes:
        base: Folder of the base model.
        codec_file: Weights of the codec.
        codec_config: JSON of the codec.
        device_name: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        tasks: What to speak.
        sampling: How to draw.
        cache: Keeps the speech of each row in a file.
    """

    base: Path
    codec_file: Path
    codec_config: Path
    device_name: str
    tasks: Sequence[Task]
    sampling: Sampling
    cache: FileCache

    def speak(self, adapter: Path | None) -> tuple[str, dict[str, Utterance]]:
        """Speak all tasks with an adapter, or with the base if it is None.

        Returns:
            A key of the speech, and the speech by name of the sentence.

        Raises:
            CheckpointError: The adapter cannot be read or was trained on another base.
        """
        files = [adapter / CONFIG_NAME, adapter / WEIGHTS_NAME] if adapter else []
        key = combined_key(self._key, "speech", *map(content_hash, files))
        return key, self._utterances(key, lambda: self._speak(adapter))

    def decode_recordings(self) -> tuple[str, dict[str, Utterance]]:
        """Decode the codes of the recordings. Return as ``speak``."""
        key = combined_key(self._key, "codec")
        return key, self._utterances(key, self._decode_recordings)

    @cached_property
    def _codec(self) -> CodecConfig:
        return CodecConfig.read(self.codec_config)

    @cached_property
    def _key(self) -> str:
        files = [self.base / name for name in MODEL_FILES]
        files += [self.codec_file, self.codec_config, *imported_files(Path(__file__))]
        device = choose_device(self.device_name)
        return combined_key(
            device.type,
            has_bfloat16(device),
            self.sampling,
            [task.key for task in self.tasks],
            *map(content_hash, files),
        )

    @cached_property
    def _synthesizer(self) -> Synthesizer:
        return load_synthesizer(self.base, self.codec_file, self.codec_config, self.device_name)

    def _speak(self, adapter: Path | None) -> Arrays:
        synthesizer = self._synthesizer
        changes = None
        if adapter:
            changes = read_adapter_for(synthesizer.model, adapter, allow_untrained=True)
        use_adapter(synthesizer.model, load_weights(self.base / "model.pth"), changes)
        speeches = synthesizer.speak(
            [(task.sentence.text, _references(task.reference)) for task in self.tasks],
            seeds=[task.seed for task in self.tasks],
            sampling=self.sampling,
            # Half a frame more, so that rounding does not lose a frame.
            max_part_s=[(task.max_frames + 0.5) / self._codec.frame_rate_hz for task in self.tasks],
        )
        arrays: Arrays = {}
        for task, speech in zip(self.tasks, speeches, strict=True):
            ended = speech.ended and speech.codes.shape[1] < task.max_frames
            arrays |= _arrays(task, speech.samples, speech.codes, ended=ended)
        return arrays

    def _decode_recordings(self) -> Arrays:
        arrays: Arrays = {}
        for task in self.tasks:
            if task.recording:
                codes = torch.from_numpy(task.recording.codes.astype(np.int64))
                samples, _ = self._synthesizer.codec.decode(
                    codes.unsqueeze(0), torch.tensor([codes.shape[1]])
                )
                arrays |= _arrays(task, samples[0].cpu(), codes, ended=True)
        return arrays

    def _utterances(self, key: str, compute: Callable[[], Arrays]) -> dict[str, Utterance]:
        arrays = load(self.cache.content(key, lambda path: save_file(compute(), path)))
        utterances = {}
        for task in self.tasks:
            name = task.sentence.name
            if f"{name}.ended" in arrays:
                clip, rate_hz = task.recording, self._codec.frame_rate_hz
                utterances[name] = Utterance(
                    text=task.sentence.text,
                    speaker=task.sentence.speaker,
                    samples=np.divide(arrays[f"{name}.samples"], FULL_SCALE, dtype=np.float32),
                    sample_rate_hz=self._codec.sample_rate_hz,
                    codes=arrays[f"{name}.codes"],
                    ended=bool(arrays[f"{name}.ended"]),
                    real_duration_s=clip.num_frames / rate_hz if clip else None,
                )
        return utterances


def _references(clip: Clip | None) -> list[Reference]:
    return [Reference(clip.text, torch.from_numpy(clip.codes))] if clip else []


def _arrays(task: Task, samples: Tensor, codes: Tensor, *, ended: bool) -> Arrays:
    name = task.sentence.name
    return {
        f"{name}.samples": np.rint(samples.numpy() * FULL_SCALE).astype(np.int16),
        f"{name}.codes": codes.numpy().astype(np.int16),
        f"{name}.ended": np.array(ended),
    }

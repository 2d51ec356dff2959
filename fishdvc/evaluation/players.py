"""Write the sounds and spectrograms of a row for the listening page."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fishdvc.evaluation.page import audio, spectrogram
from fishdvc.evaluation.results import Measures, Player, Utterance
from fishdvc.storage.cache import FileCache, combined_key, content_hash
from fishdvc.storage.imports import imported_files

MIN_S = 0.1
"""Shorter sounds are extended by silence, because a player needs something to play."""
Write = Callable[[Path, NDArray[np.float32], int], None]


def write_players(
    folder: Path,
    row: str,
    key: str,
    utterances: Mapping[str, Utterance],
    measures: Mapping[str, Measures],
    cache: FileCache,
) -> dict[str, Player]:
    """Write a sound and a picture of each utterance, or take them from the cache.

    Args:
        folder: Folder of the page.
        row: Name of the row.
        key: Hash of the utterances.
        utterances: By name of the sentence.
        measures: Of each utterance.
        cache: Keeps the files.

    Returns:
        Players by name of the sentence.
    """
    code = {
        module: combined_key(*map(content_hash, imported_files(Path(str(module.__file__)))))
        for module in (audio, spectrogram)
    }
    players = {}
    for sentence, utterance in utterances.items():
        paths = []
        for module, write, suffix in (
            (audio, audio.write_audio, audio.AUDIO_SUFFIX),
            (spectrogram, spectrogram.write_spectrogram, spectrogram.SPECTROGRAM_SUFFIX),
        ):
            path = folder / "rows" / row / f"{sentence}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            file_key = combined_key(key, sentence, code[module])
            if not cache.fetch(file_key, path):
                _write(write, path, utterance)
                cache.store(file_key, path)
            paths.append(path.relative_to(folder).as_posix())
        players[sentence] = Player(
            audio=paths[0],
            spectrogram=paths[1],
            heard=measures[sentence].heard,
            metrics=measures[sentence].values,
        )
    return players


def _write(write: Write, path: Path, utterance: Utterance) -> None:
    missing = round(MIN_S * utterance.sample_rate_hz) - len(utterance.samples)
    samples = np.pad(utterance.samples, (0, max(0, missing)))
    write(path, samples, utterance.sample_rate_hz)

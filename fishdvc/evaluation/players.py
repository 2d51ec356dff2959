"""Write the sounds and spectrograms of a row for the listening page."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fishdvc.audio.export import write_speech
from fishdvc.audio.waveform import Waveform
from fishdvc.evaluation.page.spectrogram import write_spectrogram
from fishdvc.evaluation.results import Measures, Player, Utterance
from fishdvc.storage.cache import FileCache, combined_key, content_hash
from fishdvc.storage.imports import imported_files

MIN_S = 0.1
"""Shorter sounds are extended by silence, because a player needs something to play."""
AUDIO_SUFFIX = ".mp3"
"""Every browser plays MP3. Safari does not play all Opus files."""
SPECTROGRAM_SUFFIX = ".png"


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
        utterances: By name of the sentence. Their sample rate is one of MP3, such as 44100.
        measures: By name of the sentence.
        cache: Keeps the files.

    Returns:
        Players by name of the sentence.
    """
    code = combined_key(*map(content_hash, imported_files(Path(__file__))))
    players = {}
    for sentence, utterance in utterances.items():
        paths = [f"rows/{row}/{sentence}{end}" for end in (AUDIO_SUFFIX, SPECTROGRAM_SUFFIX)]
        for path in paths:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file_key = combined_key(key, sentence, file.suffix, code)
            if not cache.fetch(file_key, file):
                write_media(file, utterance)
                cache.store(file_key, file)
        players[sentence] = Player(
            audio=paths[0],
            audio_hash=content_hash(folder / paths[0]),
            spectrogram=paths[1],
            heard=measures[sentence].heard,
            metrics=measures[sentence].values,
        )
    return players


def write_media(path: Path, utterance: Utterance) -> None:
    """Write the sound or the spectrogram of an utterance, by the suffix of the path."""
    rate_hz = utterance.sample_rate_hz
    missing = round(MIN_S * rate_hz) - len(utterance.samples)
    samples = np.pad(utterance.samples, (0, max(0, missing)))
    if path.suffix == AUDIO_SUFFIX:
        waveform = Waveform(samples=samples, sample_rate_hz=rate_hz)
        write_speech(path, waveform, suffix=AUDIO_SUFFIX)
    else:
        write_spectrogram(path, samples, rate_hz)

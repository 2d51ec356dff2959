"""Find copies of clips: the same recording under several names."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishdvc.corpus.names import speaker_of

Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Clips of the same recording.

    Attributes:
        names: At least two clips, sorted by name.
        shared: What is equal in all of them.
    """

    names: tuple[str, ...]
    shared: str


def find_copies(clips: Mapping[str, tuple[str, Codes]]) -> list[Copies]:
    """Group clips with equal codes, and clips of a speaker with equal transcript and length.

    Args:
        clips: Transcript and codes ``(num_codebooks, frames)`` of each clip. White space in
            transcripts does not count.

    Returns:
        Groups of two clips or more, sorted by their first clip. No clip is in two groups.
    """
    group_of: dict[str, set[str]] = {}
    first: dict[object, str] = {}
    for name, (text, codes) in clips.items():
        group_of[name] = {name}
        for key in _keys(name, text, codes):
            other = group_of[first.setdefault(key, name)]
            if other is not group_of[name]:
                other |= group_of[name]
                for member in group_of[name]:
                    group_of[member] = other
    groups = {min(group): group for group in group_of.values() if len(group) > 1}
    return [
        Copies(names=tuple(sorted(group)), shared=_shared([clips[name] for name in group]))
        for _, group in sorted(groups.items())
    ]


def _keys(name: str, text: str, codes: Codes) -> Iterator[object]:
    yield _digest(codes)
    yield speaker_of(name), tuple(text.split()), codes.shape


def _digest(codes: Codes) -> tuple[tuple[int, ...], bytes]:
    return codes.shape, hashlib.sha256(codes.astype(np.int64).tobytes()).digest()


def _shared(clips: list[tuple[str, Codes]]) -> str:
    if len({_digest(codes) for _, codes in clips}) > 1:
        return "same transcript and length"
    if len({tuple(text.split()) for text, _ in clips}) > 1:
        return "same audio, different transcripts"
    return "same audio"

"""Choose the clips to validate on."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from fishdvc.corpus.names import speaker_of
from fishdvc.errors import DatasetError

Group = tuple[str, ...]
"""Names of copies of one clip, or one name."""
MIN_CLIPS_FOR_VALIDATION = 5
"""A speaker with this number of clips or more has at least one held out."""


def hold_out(
    names: Sequence[str],
    copies: Sequence[Sequence[str]] = (),
    *,
    val_fraction: float,
    seed: int,
) -> frozenset[str]:
    """Choose the clips to validate on: a share of each speaker's clips.

    A speaker with 5 clips or more has at least one held out. Clips are sorted by a hash of the seed
    and their name, so that the choice changes little when clips are added or removed. Copies of a
    clip are held out together, and only if the share has room for all of them. If it has no room
    for any clip with its copies, the smallest group is held out.

    Args:
        names: Clips as ``<speaker>/<clip>``.
        copies: Groups of names that are copies of one clip. A group belongs to the speaker of its
            first name.
        val_fraction: Share of each speaker's clips, rounded half to even.
        seed: Chooses which clips are held out.

    Raises:
        DatasetError: There is only one clip, apart from its copies.
    """
    group_of = {name: tuple(group) for group in copies for name in group}
    groups = {group_of.get(name, (name,)) for name in names}
    if len(groups) < 2:
        raise DatasetError(
            "build_protos: expected at least 2 different clips, one to train on and one to "
            f"validate on, got {len(groups)}; add clips"
        )
    own_groups = defaultdict[str, list[Group]](list)
    for group in sorted(groups, key=lambda group: min(_rank(name, seed) for name in group)):
        own_groups[speaker_of(group[0])].append(group)
    held_out: list[str] = []
    counts = {speaker: len(clips) for speaker, clips in by_speaker(names).items()}
    for speaker, count in counts.items():
        minimum = 1 if count >= MIN_CLIPS_FOR_VALIDATION else 0
        held_out += _choose(own_groups[speaker], max(minimum, round(val_fraction * count)))
    if not held_out:
        largest_first = sorted(own_groups, key=lambda speaker: (-counts[speaker], speaker))
        held_out += _smallest([group for key in largest_first for group in own_groups[key]])
    return frozenset(held_out)


def by_speaker(names: Sequence[str]) -> dict[str, list[str]]:
    """Group names of clips by speaker. Sort the speakers, and keep the order of the clips."""
    speakers = defaultdict(list)
    for name in names:
        speakers[speaker_of(name)].append(name)
    return dict(sorted(speakers.items()))


def _choose(groups: Sequence[Group], count: int) -> list[str]:
    """Choose groups of at most ``count`` clips together, the first ones if possible."""
    chosen: list[str] = []
    for group in groups:
        if len(chosen) + len(group) <= count:
            chosen += group
    if not chosen and count and len(groups) > 1:
        chosen += _smallest(groups)
    return chosen


def _smallest(groups: Sequence[Group]) -> Group:
    smallest: Group = min(groups, key=len)
    return smallest


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()

"""Human voices in Debian's asterisk-core-sounds packages, and how often each voice is drawn.

``asterisk-core-sounds-<language>-g722`` has the recordings, ``asterisk-core-sounds-<language>`` the
texts.
"""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fishdvc.validation import Checked

SHARE = Path("/usr/share")

Group = Literal["human", "hibari", "kokoro"]


@dataclass(frozen=True)
class Prompts:
    """Voice prompts of one person."""

    language: str
    folder_name: str

    def recordings(self) -> dict[str, Path]:
        """Find the recordings by name: ``hello-world``, ``digits/1``."""
        folder = SHARE / "asterisk" / "sounds" / self.folder_name
        return {
            path.relative_to(folder).with_suffix("").as_posix(): path
            for path in sorted(folder.rglob("*.g722"))
        }

    def texts(self) -> list[tuple[str, str]]:
        """Read names and texts, in the order of the file."""
        package = f"core-sounds-{self.language}"
        path = SHARE / "doc" / f"asterisk-{package}" / f"{package}.txt.gz"
        return spoken_texts(gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines())


ALLISON = Prompts("en", "en_US_f_Allison")
"""The voice of the demo. It must not be in the base model's training."""
HUMAN_VOICES = {
    "june-fr": Prompts("fr", "fr_CA_f_June"),
    "carlo-it": Prompts("it", "it_IT_m_Carlo"),
    "ivrvoice-ru": Prompts("ru", "ru_RU_f_IvrvoiceRU"),
}
"""Human voices of the training. Every other voice is synthetic."""


def spoken_texts(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Parse lines ``name: text``, without comments and texts in brackets, which name a sound."""
    return [
        (name, text.strip())
        for name, _, text in (line.strip().partition(": ") for line in lines)
        if text and not name.startswith(";") and "[" not in text
    ]


def group_of(voice: str) -> Group:
    """Return the group of a voice. All voices that are neither human nor hibari are Kokoro's."""
    if voice in HUMAN_VOICES:
        return "human"
    return "hibari" if voice.startswith("hibari") else "kokoro"


class GroupShares(Checked):
    """How often each group of voices is drawn, relative to the others."""

    human: float = Field(description="Share of the human recordings.", ge=0)
    hibari: float = Field(description="Share of hibari.", ge=0)
    kokoro: float = Field(description="Share of Kokoro.", ge=0)


def voice_shares(sizes: Mapping[str, float], groups: GroupShares) -> NDArray[np.float64]:
    """Compute the probability of each voice.

    In a group, a voice with four times the speech is drawn twice as often.

    Args:
        sizes: Amount of speech of each voice, in any unit.
        groups: Shares of the groups. Only groups that have a voice count.
    """
    shares: NDArray[np.float64] = np.sqrt(np.array(list(sizes.values()), dtype=float))
    of_voices = np.array([group_of(voice) for voice in sizes])
    for group, share in groups:
        in_group = of_voices == group
        if in_group.any():
            shares[in_group] *= share / shares[in_group].sum()
    shares /= shares.sum()
    return shares

"""Human voices in Debian's asterisk-core-sounds packages, and how often each voice is drawn.

``asterisk-core-sounds-<language>-g722`` has the recordings, ``asterisk-core-sounds-<language>`` the
texts.
"""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHARE = Path("/usr/share")


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


def voice_shares(weights: Mapping[str, float], *, human_share: float) -> NDArray[np.float64]:
    """Compute the probability of each voice.

    Args:
        weights: Relative frequency of each voice among the human or among the synthetic voices.
        human_share: Probability of all human voices together, 0..1, if there are voices of both
            kinds. There are far fewer human recordings than synthetic ones.
    """
    shares: NDArray[np.float64] = np.array(list(weights.values()), dtype=float)
    human = np.array([voice in HUMAN_VOICES for voice in weights])
    for group, group_share in ((human, human_share), (~human, 1 - human_share)):
        if group.any():
            shares[group] *= group_share / shares[group].sum()
    shares /= shares.sum()
    return shares

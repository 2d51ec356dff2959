"""Recordings of people and what they say, in Debian's asterisk-core-sounds packages.

``asterisk-core-sounds-<language>-g722`` has the recordings, ``asterisk-core-sounds-<language>`` the
texts.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SHARE = Path("/usr/share")


@dataclass(frozen=True)
class Prompts:
    """One person's."""

    language: str
    voice: str
    """Name of the folder with the recordings."""

    def recordings(self) -> dict[str, Path]:
        """Find the recordings, by name: ``hello-world``, ``digits/1``."""
        folder = SHARE / "asterisk" / "sounds" / self.voice
        return {
            path.relative_to(folder).with_suffix("").as_posix(): path
            for path in sorted(folder.rglob("*.g722"))
        }

    def texts(self) -> list[tuple[str, str]]:
        """Read names and texts, in the order of the file."""
        name = f"core-sounds-{self.language}"
        path = SHARE / "doc" / f"asterisk-{name}" / f"{name}.txt.gz"
        return spoken_texts(gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines())


def spoken_texts(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Take the lines ``name: text``; not remarks, nor texts that describe a sound in brackets."""
    return [
        (name, text.strip())
        for name, _, text in (line.strip().partition(": ") for line in lines)
        if text and not name.startswith(";") and "[" not in text
    ]


ALLISON = Prompts("en", "en_US_f_Allison")
HUMAN_VOICES = {
    "june-fr": Prompts("fr", "fr_CA_f_June"),
    "carlo-it": Prompts("it", "it_IT_m_Carlo"),
    "ivrvoice-ru": Prompts("ru", "ru_RU_f_IvrvoiceRU"),
}
"""Those that the base may hear; Allison Smith is the demo's voice, and new to it."""

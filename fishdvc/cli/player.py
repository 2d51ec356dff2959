"""Play a sound file with whatever program this machine has. Starts without torch."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fishdvc.errors import AudioError


@dataclass(frozen=True)
class Player:
    """A program that plays a sound file and then ends."""

    program: str
    options: Sequence[str] = ()
    suffixes: Sequence[str] = (".wav", ".flac", ".mp3")

    def play(self, path: Path) -> None:
        """Play a file to its end.

        Raises:
            AudioError: The program failed.
        """
        # An absolute path is never taken for an option.
        command = [self.program, *self.options, str(path.absolute())]
        try:
            ended = subprocess.run(command, capture_output=True, check=False)
            said = ended.stderr.decode(errors="replace").strip().splitlines()
        except OSError as error:
            raise AudioError(f"{path}: written, but {self.program} cannot run: {error}") from error
        if ended.returncode:
            reason = said[-1] if said else f"exit code {ended.returncode}"
            raise AudioError(f"{path}: written, but {self.program} cannot play it: {reason}")


PLAYERS = (
    Player("afplay"),
    Player("ffplay", ("-nodisp", "-autoexit", "-loglevel", "error")),
    Player("mpv", ("--no-video", "--really-quiet")),
    Player("play", ("-q",)),
    Player("pw-play", suffixes=(".wav", ".flac")),
    Player("paplay", suffixes=(".wav", ".flac")),
    Player("aplay", ("-q",), suffixes=(".wav",)),
)


def find_player(suffix: str) -> Player | None:
    """Find a program on the PATH that plays files of a suffix."""
    fitting = (player for player in PLAYERS if suffix in player.suffixes)
    return next((player for player in fitting if shutil.which(player.program)), None)

"""`--play` gives the file to a program on the PATH."""

import os
from pathlib import Path

import pytest
import soundfile

from fishdvc.cli import player as player_module
from fishdvc.cli.player import PLAYERS, find_player
from tests.cli.conftest import Run

BASE = ("--checkpoint", "data/base", "--max-part-s", "0.4")
PLAYER = """#!/bin/sh
for last; do :; done
head -c 4 "$last" > played
"""


@pytest.mark.parametrize("program", ["ffplay", "paplay"])
def test_play_gives_the_file_to_a_player_on_the_path(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    stub(project / "bin" / program, PLAYER)
    monkeypatch.setenv("PATH", f"{project / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(player_module, "PLAYERS", [p for p in PLAYERS if p.program == program])
    assert run("Hello.", *BASE, "-o", "a.wav", "--play")[0] == 0
    assert Path("played").read_bytes() == b"RIFF"


def test_a_player_that_fails_is_an_error_and_the_file_stays(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(project / "bin/aplay", "#!/bin/sh\necho 'no sound card' >&2\nexit 3\n")
    monkeypatch.setenv("PATH", str(project / "bin"))
    code, out, err = run("Hello.", *BASE, "-o", "a.wav", "--play")
    assert (code, out[:6]) == (1, "a.wav:")
    assert err.endswith("error: a.wav: written, but aplay cannot play it: no sound card\n")
    assert soundfile.info("a.wav").frames


def stub(path: Path, script: str) -> None:
    path.parent.mkdir()
    path.write_text(script)
    path.chmod(0o755)


def test_a_player_is_chosen_by_what_it_plays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(project / "bin/aplay", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(project / "bin"))
    chosen = find_player(".wav")
    assert chosen
    assert chosen.program == "aplay"
    assert find_player(".mp3") is None

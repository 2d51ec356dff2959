"""What the pages show was printed by what they say, and DVC knows every line that they name."""

import re
from pathlib import Path

import pytest
from docs.record_console import PAGES, REPOSITORY, Recording, blocks, commands, seal, tidy
from dvc.cli import DvcParserError, parse_args

from tests.small_project import TOP, Project

RECORDED = [TOP / page for page in PAGES]
ALL = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def dvc_lines(page: Path) -> list[str]:
    """Commands of DVC, in blocks and in the text, without what the shell does with them."""
    text = page.read_text(encoding="utf-8")
    in_text = re.findall(r"`(?:\w+=\S+ )?(dvc [^`\n]+)`", text)
    in_blocks = [
        part.strip()
        for block in re.findall(r"^```(?:bash|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in re.findall(r"^(?:\$ )?((?:\w+=\S+ |git |dvc |pip ).*)", block, re.MULTILINE)
        for part in re.split(r"&&|\||#", line)
    ]
    lines = [re.sub(r"^\w+=\S+ ", "", line) for line in (*in_text, *in_blocks)]
    return [line for line in lines if line.startswith("dvc ")]


@pytest.mark.parametrize("page", RECORDED, ids=lambda page: page.name)
def test_console_blocks_are_as_they_were_recorded(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(blocks(text)) > 5
    for block in blocks(text):
        assert commands(block), block
        assert block.startswith("$ ")
    assert seal(text) in text.splitlines(), "run: python -m docs.record_console"


@pytest.mark.parametrize("page", [page for page in ALL if page not in RECORDED], ids=str)
def test_no_other_page_shows_outputs_that_nobody_records(page: Path) -> None:
    assert not blocks(page.read_text(encoding="utf-8"))


def test_dvc_knows_every_command_and_option_that_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = {line for page in ALL for line in dvc_lines(page)}
    assert len(lines) > 40
    unknown = []
    for line in sorted(lines):
        words = re.findall(r"'[^']*'|\"[^\"]*\"|\S+", line)[1:]
        try:
            parse_args(words)
        except DvcParserError:
            # A command may be named without what it is to be given.
            if "arguments are required" not in caplog.messages[-1]:
                unknown.append(line)
    assert not unknown


def test_a_recording_is_what_bash_printed_in_the_page_s_words(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    terminal = Recording(
        Project(tmp_path, tmp_path), tmp_path, {"/mnt/backup": str(tmp_path / "disk")}
    )
    page = (
        "Text.\n\n```console\n$ cd /mnt/backup && pwd  # there\nformer output\n$ true\n```\n"
        "```bash\n$ false\n```\n```console\n$ printf '\\na\\n\\n  b \\n\\n'\n$ pwd\n```\n"
        "<!-- recorded by nobody yet -->\n"
    )
    recorded = terminal.record(page)
    assert recorded.startswith(
        "Text.\n\n```console\n$ cd /mnt/backup && pwd  # there\n/mnt/backup\n$ true\n```\n"
        "```bash\n$ false\n```\n"
        "```console\n$ printf '\\na\\n\\n  b \\n\\n'\na\n\n  b\n$ pwd\n/mnt/backup\n```\n"
    )
    assert recorded.endswith(f"{seal(recorded)}\n")
    assert seal(recorded) != seal(recorded.replace("  b\n", "  c\n"))


def test_many_warnings_of_one_kind_are_one_and_dots() -> None:
    warning = "WARNING: Output 'a' is missing version info.\n"
    assert tidy(f"a\n{3 * warning}b\n") == ["a", *3 * [warning.strip()], "b"]
    assert tidy(f"a\n{4 * warning}b\n") == ["a", warning.strip(), "...", "b"]


def test_a_recording_ends_at_a_command_that_fails(tmp_path: Path) -> None:
    terminal = Recording(Project(tmp_path, tmp_path), tmp_path, {})
    with pytest.raises(SystemExit, match="no such thing"):
        terminal.record("```console\n$ echo no such thing | grep . && false\n```\n")


def test_the_clone_is_made_from_the_repository_that_git_finds_here() -> None:
    assert f"$ git clone {REPOSITORY} " in (TOP / "docs/remotes.md").read_text(encoding="utf-8")

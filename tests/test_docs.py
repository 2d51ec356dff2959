"""The pages name only commands, files, headings and parameters that exist."""

import re
from pathlib import Path

import pytest
import yaml
from dvc.cli import DvcParserError, parse_args

TOP = Path(__file__).parent.parent
PAGES = [
    TOP / "README.md",
    TOP / "README.zh.md",
    TOP / "benchmarks/RESULTS.md",
    TOP / "data/external/README.md",
    *sorted((TOP / "docs").glob("*.md")),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def dvc_commands(page: Path) -> list[str]:
    """Commands of DVC in code blocks and in the text, without pipes and comments."""
    text = page.read_text(encoding="utf-8")
    in_text = re.findall(r"`(?:\w+=\S+ )?(dvc [^`\n]+)`", text)
    in_blocks = [
        part.strip()
        for block in re.findall(r"^```(?:bash|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in re.findall(r"^(?:\$ )?((?:\w+=\S+ |git |dvc |pip ).*)", block, re.MULTILINE)
        for part in re.split(r"&&|\||#", re.sub(r"'[^']*\|[^']*'", "PATTERN", line))
    ]
    lines = [re.sub(r"^\w+=\S+ ", "", line) for line in (*in_text, *in_blocks)]
    return [line for line in lines if line.startswith("dvc ")]


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_dvc_accepts_every_command_on_the_pages(caplog: pytest.LogCaptureFixture) -> None:
    lines = {line for page in PAGES for line in dvc_commands(page)}
    assert len(lines) > 40
    unknown = []
    for line in sorted(lines):
        words = re.findall(r"'[^']*'|\"[^\"]*\"|\S+", line)[1:]
        try:
            parse_args(words)
        except DvcParserError:
            # In the text, a command may stand without its arguments.
            if "arguments are required" not in caplog.messages[-1]:
                unknown.append(line)
    assert not unknown


@every_page
def test_linked_files_and_headings_exist(page: Path) -> None:
    missing = []
    for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            missing.append(link)
    assert not missing


@every_page
def test_named_parameters_exist(page: Path) -> None:
    params = yaml.safe_load((TOP / "params.yaml").read_text())
    named = re.findall(rf"\b({'|'.join(params)})\.(\w+)", page.read_text(encoding="utf-8"))
    suffixes = {"py", "md", "json", "txt", "sbatch"}
    assert not {
        f"{section}.{key}"
        for section, key in named
        if key not in suffixes and key not in params[section]
    }

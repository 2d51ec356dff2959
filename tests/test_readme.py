"""README.md agrees with the pipeline, the command line and the Chinese page."""

import argparse
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from docs.render_readme import PAGES, read_stages, render
from fishdvc.cli import speak
from fishdvc.cli.main import main

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
README_ZH = (PROJECT / "README.zh.md").read_text(encoding="utf-8")
MAIN_COMMAND = "pip install -c constraints.txt -e . && dvc repro"
TEST_COMMAND = "pip install -c constraints.txt -e '.[test]' && pytest"


@pytest.mark.parametrize("page", PAGES)
def test_tables_and_graph_are_rendered_from_dvc_yaml(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert render(text, read_stages(PROJECT / "dvc.yaml")) == text, "run docs/render_readme.py"


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    lines = README.splitlines()
    assert MAIN_COMMAND in lines
    assert TEST_COMMAND in lines
    ci = (PROJECT / ".ci/run").read_text()
    assert "readme_command pytest" in ci
    assert "readme_command 'dvc repro'" in ci


@pytest.mark.parametrize("page", ["README.md", "docs/speaking.md"])
def test_commands_to_speak_are_valid(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.findall(r"^fishdvc (speak .+)$", (PROJECT / page).read_text(), re.MULTILINE)
    calls: list[argparse.Namespace] = []
    monkeypatch.setattr(speak, "speak", calls.append)
    monkeypatch.chdir(PROJECT)
    assert len(lines) >= 2
    for line in lines:
        assert main(shlex.split(line, comments=True)) == 0
    train = yaml.safe_load((PROJECT / "params.yaml").read_text())["train_lora"]
    steps = range(0, train["max_steps"] + 1, train["checkpoint_every_steps"])
    adapters = {str(adapter) for call in calls for adapter in call.adapter}
    assert adapters <= {f"data/lora/step_{step:09d}" for step in steps}
    assert all((PROJECT / clip).is_file() for call in calls for clip in call.reference)


def test_the_chinese_page_has_the_same_commands_links_and_figures() -> None:
    def blocks(page: str) -> list[str]:
        return re.findall(r"^```bash\n.*?^```", page, re.DOTALL | re.MULTILINE)

    def names(page: str) -> set[str]:
        text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
        found = re.findall(r"\]\(([^)]+)\)|`([^`\n]+)`", text)
        return {link or code for link, code in found if "<" not in code}

    assert blocks(README_ZH) == blocks(README)
    assert names(README_ZH) - names(README) == {"README.md", "README.md#stages"}
    figures = re.findall(r"\b0\.\d+\b", README)
    assert len(figures) >= 5
    assert set(figures) == set(re.findall(r"\b0\.\d+\b", README_ZH))


def test_constraints_pin_every_requirement() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    required = {re.split(r"[\[>=<]", line)[0].lower() for line in wanted} - {"fishdvc"}
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (PROJECT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {"torch", "dvc", "peft"} <= required
    assert not {name for name in required if name.replace("_", "-") not in pinned}

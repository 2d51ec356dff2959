"""README.md says what is so: its commands, parameters, files, stage table and graph."""

import argparse
import importlib.util
import itertools
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from fishdvc.cli import speak
from fishdvc.cli.main import main

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
README_ZH = (PROJECT / "README.zh.md").read_text(encoding="utf-8")
MAIN_COMMAND = "pip install -c constraints.txt -e . && dvc repro"
TEST_COMMAND = "pip install -c constraints.txt -e '.[test]' && pytest"


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "render_readme", PROJECT / "docs/render_readme.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stage_table_and_graph_are_those_of_the_pipeline(renderer: ModuleType) -> None:
    stages = renderer.read_stages(PROJECT / "dvc.yaml")
    assert renderer.render(README, stages) == README, "run: python docs/render_readme.py"


def test_graph_follows_the_stages_in_their_order(renderer: ModuleType) -> None:
    graph = renderer.stage_graph(renderer.read_stages(PROJECT / "dvc.yaml"))
    order = ["normalize", "extract_vq", "build_protos", "train_lora", "merge"]
    for earlier, later in itertools.pairwise(order):
        assert re.search(rf"^    {earlier} -->\|\w+\| {later}$", graph, re.MULTILINE)


def test_the_two_commands_are_there_and_ci_runs_them() -> None:
    lines = README.splitlines()
    assert MAIN_COMMAND in lines
    assert TEST_COMMAND in lines
    ci = (PROJECT / ".ci/run").read_text()
    assert "readme_command pytest" in ci
    assert "readme_command 'dvc repro'" in ci


def test_every_parameter_named_exists() -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    named = set(re.findall(rf"\b({'|'.join(params)})\.(\w+)", README))
    suffixes = {"py", "md", "json", "txt", "yaml"}
    unknown = [
        f"{section}.{key}"
        for section, key in named
        if key not in suffixes and key not in params[section]
    ]
    assert len(named) > 10
    assert not unknown


@pytest.mark.parametrize("document", ["README.md", "docs/speaking.md"])
def test_every_command_to_speak_is_one(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.findall(r"^fishdvc (speak .+)$", (PROJECT / document).read_text(), re.MULTILINE)
    spoken: list[argparse.Namespace] = []
    monkeypatch.setattr(speak, "speak", spoken.append)
    assert len(lines) >= 2
    for line in lines:
        assert main(shlex.split(line, comments=True)) == 0
    parameters = {str(step) for call in spoken for step in call.adapter}
    steps = yaml.safe_load((PROJECT / "params.yaml").read_text())["train_lora"]
    possible = range(0, steps["max_steps"] + 1, steps["checkpoint_every_steps"])
    assert parameters <= {f"data/lora/step_{step:09d}" for step in possible}
    for call in spoken:
        assert all((PROJECT / reference).is_file() for reference in call.reference)


def test_every_linked_or_listed_file_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    file_map = README.split("## Files")[1]
    listed = re.findall(r"`([\w./]+/|[\w./]+\.(?:yaml|md|toml|txt))`", file_map)
    assert links
    assert listed
    missing = [path for path in (*links, *listed) if not (PROJECT / path).exists()]
    assert not missing


def test_the_chinese_page_has_the_same_commands_and_names() -> None:
    def blocks(page: str) -> list[str]:
        return re.findall(r"^```bash\n.*?^```", page, re.DOTALL | re.MULTILINE)

    def names(page: str) -> set[str]:
        text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
        found = re.findall(r"\]\(([^)]+)\)|`([^`\n]+)`", text)
        return {link or code for link, code in found if "<" not in code}

    assert blocks(README_ZH) == blocks(README)
    own = {"README.md", "README.md#from-fish-speechs-own-scripts"}
    assert names(README_ZH) - names(README) == own


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

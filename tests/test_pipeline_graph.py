"""dvc.yaml agrees with the code: dependencies, names, parameters, outputs."""

import ast
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishdvc.params import load_yaml
from fishdvc.pipeline.shared_params import EXTERNAL
from fishdvc.storage.imports import imported_files

TOP = Path(__file__).parent.parent
GRAPH: dict[str, Any] = yaml.safe_load((TOP / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = GRAPH["stages"]
PATHS: dict[str, str] = GRAPH["vars"][0]["paths"]
PARAMS: dict[str, Any] = load_yaml(TOP / "params.yaml")
# Later stages read the section of fetch_base too, so it is named after the base.
SECTION_OF = {name: name for name in STAGES} | {"fetch_base": "base"}


def resolved(text: str) -> str:
    for name, path in PATHS.items():
        text = text.replace(f"${{paths.{name}}}", path)
    return text.replace("${dataset.path}", PARAMS["dataset"]["path"])


def entries(stage: str, kind: str) -> dict[str, dict[str, Any]]:
    found = {}
    for entry in STAGES[stage].get(kind, []):
        path, options = next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})
        found[resolved(path)] = options
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_it_imports(stage: str) -> None:
    code = [TOP / path for path in entries(stage, "deps") if path.startswith(("fishdvc", "stages"))]
    declared = {file for path in code for file in (path.rglob("*.py") if path.is_dir() else [path])}
    imported = imported_files(TOP / "stages" / f"{stage}.py")
    assert without_packages(declared) == without_packages(imported)


def without_packages(files: Iterable[Path]) -> set[str]:
    """Leave out ``__init__.py`` files, which hold no code."""
    return {str(file.relative_to(TOP)) for file in files if file.name != "__init__.py"}


def test_packages_hold_no_code() -> None:
    for file in (*TOP.glob("fishdvc/**/__init__.py"), *TOP.glob("stages/**/__init__.py")):
        body = ast.parse(file.read_text()).body
        assert [type(node) for node in body] in ([], [ast.Expr]), file


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_the_same_name_everywhere(stage: str) -> None:
    library = TOP / "fishdvc/pipeline" / f"{stage}.py"
    script = TOP / "stages" / f"{stage}.py"
    assert (TOP / "tests/pipeline" / f"test_{stage}.py").is_file()
    assert SECTION_OF[stage] in PARAMS
    functions = [n.name for n in ast.parse(library.read_text()).body if type(n) is ast.FunctionDef]
    assert stage in functions
    called = {
        node.func.id
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert stage in called
    assert f"python -m stages.{stage} " in STAGES[stage]["cmd"]
    assert STAGES[stage]["desc"]


def test_every_stage_script_is_a_stage_and_the_reverse() -> None:
    scripts = {path.stem for path in (TOP / "stages").glob("*.py")} - {"__init__", "command"}
    assert scripts == set(STAGES)
    modules = {path.stem for path in (TOP / "fishdvc/pipeline").glob("*.py")}
    assert modules == {"__init__", "shared_params", *STAGES}


def sections_read(stage: str) -> set[str]:
    """Sections that a stage's script reads."""
    return {
        node.args[1].value
        for node in ast.walk(ast.parse((TOP / "stages" / f"{stage}.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "read_params"
        and isinstance(node.args[1], ast.Constant)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_tracks_the_sections_that_it_reads_except_machine(stage: str) -> None:
    tracked = {param.split(".")[0] for param in STAGES[stage]["params"]}
    assert tracked == sections_read(stage) - {"machine"}
    assert tracked <= PARAMS.keys()


def test_every_section_is_read_by_some_stage() -> None:
    assert set().union(*map(sections_read, STAGES)) == PARAMS.keys()


@pytest.mark.parametrize("stage", STAGES)
def test_files_that_parameters_name_are_dependencies(stage: str) -> None:
    files = imported_files(TOP / "stages" / f"{stage}.py")
    reads_external = any(f'stage="{stage}"' in file.read_text() for file in files)
    assert ((EXTERNAL / stage).as_posix() in entries(stage, "deps")) == reads_external
    assert (TOP / EXTERNAL / stage).is_dir() == reads_external


@pytest.mark.parametrize("stage", STAGES)
def test_metrics_are_in_git_and_other_outputs_in_the_cache_of_dvc(stage: str) -> None:
    for kind in ("outs", "metrics"):
        for path, options in entries(stage, kind).items():
            in_git = kind == "metrics"
            assert (options.get("cache") is False, is_ignored(path)) == (in_git, not in_git), path
            assert "persist" not in options


def is_ignored(path: str) -> bool:
    check = ["git", "check-ignore", "--quiet", "--no-index", path]
    return any(
        subprocess.run([*check[:-1], name], cwd=TOP, check=False).returncode == 0
        for name in (path, f"{path}/")
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_names_every_output_and_its_inputs(stage: str) -> None:
    words = resolved(STAGES[stage]["cmd"]).split()
    arguments = {name: Path(path) for name, path in zip(words[3::2], words[4::2], strict=True)}
    outputs = [Path(path) for kind in ("outs", "metrics") for path in entries(stage, kind)]
    for output in outputs:
        assert {output, *output.parents} & set(arguments.values()), output
    for path in arguments.values():
        written = any(path == output or path in output.parents for output in outputs)
        read = any(Path(dep).is_relative_to(path) for dep in entries(stage, "deps"))
        assert written or read, path


def test_outputs_that_are_cheap_to_rebuild_are_not_pushed() -> None:
    outs = [(out, how) for stage in STAGES for out, how in entries(stage, "outs").items()]
    not_pushed = {out for out, how in outs if how.get("push") is False}
    assert not_pushed == {PATHS["base"], PATHS["normalized"], PATHS["merged"]}


def test_dvc_ignores_byte_code() -> None:
    assert "__pycache__" in (TOP / ".dvcignore").read_text().splitlines()

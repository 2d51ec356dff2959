"""The graph of dvc.yaml says what the code does: dependencies, names, parameters, outputs."""

import ast
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishdvc.params import load_yaml

TOP = Path(__file__).parent.parent
GRAPH: dict[str, Any] = yaml.safe_load((TOP / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = GRAPH["stages"]
PATHS: dict[str, str] = GRAPH["vars"][0]["paths"]
PARAMS: dict[str, Any] = load_yaml(TOP / "params.yaml")
# fetch_base's section is named after what it is about, for later stages read it too.
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


def module_file(name: str) -> Path | None:
    path = TOP / Path(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def imported_by(file: Path) -> set[Path]:
    """Files of the project that importing a file runs, also those of packages on the way."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        if name.split(".")[0] in ("fishdvc", "stages", "demo_base"):
            parts = name.split(".")
            packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
            files |= {found for package in packages if (found := module_file(package))}
    return files


def all_imported_by(file: Path) -> set[Path]:
    seen, waiting = {file}, [file]
    while waiting:
        for found in imported_by(waiting.pop()) - seen:
            seen.add(found)
            waiting.append(found)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imports(stage: str) -> None:
    deps = [TOP / path for path in entries(stage, "deps")]
    missing = [
        str(file.relative_to(TOP))
        for file in all_imported_by(TOP / "stages" / f"{stage}.py")
        # A package's docstring, and nothing else.
        if file.name != "__init__.py" or imported_by(file)
        if not any(file == dep or dep in file.parents for dep in deps)
    ]
    assert missing == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_import(stage: str) -> None:
    imported = all_imported_by(TOP / "stages" / f"{stage}.py")
    code = [path for path in entries(stage, "deps") if path.startswith(("fishdvc/", "stages/"))]
    for path in code:
        assert any(TOP / path == file or TOP / path in file.parents for file in imported), path


def test_the_walk_finds_what_is_imported_far_below() -> None:
    found = {str(path.relative_to(TOP)) for path in all_imported_by(TOP / "stages/train_lora.py")}
    assert {"fishdvc/dataset/shards.py", "fishdvc/text/clean.py", "stages/command.py"} <= found


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_names_a_stage_everywhere(stage: str) -> None:
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
def test_a_stage_tracks_the_sections_that_it_reads_and_they_exist(stage: str) -> None:
    # DVC tracks a whole section by its name.
    assert set(STAGES[stage]["params"]) == sections_read(stage)
    assert set(STAGES[stage]["params"]) <= PARAMS.keys()


def test_every_section_is_read_by_some_stage() -> None:
    assert set().union(*map(sections_read, STAGES)) == PARAMS.keys()


def test_paths_of_outputs_stand_once_in_vars() -> None:
    for stage in STAGES:
        for kind in ("outs", "metrics", "plots"):
            for entry in STAGES[stage].get(kind, []):
                path = next(iter(entry)) if isinstance(entry, dict) else entry
                assert path.startswith("${paths."), path


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_run_makes_is_kept_by_dvc_or_by_git_never_by_both(stage: str) -> None:
    for kind in ("outs", "metrics", "plots"):
        for path, options in entries(stage, kind).items():
            kept_by_git = options.get("cache") is False
            assert kept_by_git is not is_ignored(path), path
            assert "persist" not in options


def is_ignored(path: str) -> bool:
    check = ["git", "check-ignore", "--quiet", "--no-index", path]
    # A folder's rule ends in a slash, and the folder need not exist.
    return any(
        subprocess.run([*check[:-1], name], cwd=TOP, check=False).returncode == 0
        for name in (path, f"{path}/")
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_names_every_output_and_its_inputs(stage: str) -> None:
    words = resolved(STAGES[stage]["cmd"]).split()
    arguments = {name: Path(path) for name, path in zip(words[3::2], words[4::2], strict=True)}
    for kind in ("outs", "metrics", "plots"):
        for path in entries(stage, kind):
            named = [p for p in arguments.values() if p == Path(path) or p in Path(path).parents]
            assert named, path
    outputs = [Path(p) for kind in ("outs", "metrics", "plots") for p in entries(stage, kind)]
    for path in arguments.values():
        written = any(path == output or path in output.parents for output in outputs)
        assert written or path.as_posix() in entries(stage, "deps"), path


def test_what_can_be_made_again_is_not_pushed() -> None:
    outs = [(out, how) for stage in STAGES for out, how in entries(stage, "outs").items()]
    not_pushed = {out for out, how in outs if how.get("push") is False}
    assert not_pushed == {PATHS["base"], PATHS["normalized"], PATHS["merged"]}


def test_every_out_is_cached_or_dvc_would_remember_no_run() -> None:
    outs = [how for stage in STAGES for how in entries(stage, "outs").values()]
    assert all(how.get("cache") is not False for how in outs)


def test_byte_code_is_no_part_of_the_code() -> None:
    assert "__pycache__" in (TOP / ".dvcignore").read_text().splitlines()

"""Errors of the stage scripts, run with the commands of dvc.yaml."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishdvc.params import load_yaml
from stages.command import run_stage, stage_arguments
from tests.faults.running import command
from tests.small_project import STAGES, TOP

Fail = Callable[..., str]
KEYS = {
    "fetch_base": ("base", "source"),
    "normalize": ("normalize", "target_loudness_lufs"),
    "check": ("check", "min_bandwidth_hz"),
    "extract_vq": ("extract_vq", "codec_config"),
    "build_protos": ("build_protos", "val_fraction"),
    "train_lora": ("train_lora", "learning_rate"),
    "evaluate": ("evaluate", "min_ended_share"),
    "merge": ("merge", "tolerance"),
}


@pytest.fixture
def fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fail:
    """Run a stage in this process. Return its error message. The stage must write nothing."""

    def run(stage: str, section: str = "machine", **changes: Any) -> str:
        params = load_yaml(TOP / "params.yaml")
        params[section].update(changes)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        module, *arguments = command(stage)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(SystemExit) as caught:
            runpy.run_module(module, run_name="__main__")
        assert caught.value.code == 1
        assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("stage", STAGES)
def test_all_wrong_parameters_of_a_section_are_listed(stage: str, fail: Fail) -> None:
    section, key = KEYS[stage]
    message = fail(stage, section, **{key: [], f"{key}s": 1})
    assert f"error: params.yaml: {section}: correct these values (2 problems):" in message
    assert f"  {key}s: unknown; did you mean '{key}'?" in message
    assert f"  {key}: must be a" in message


@pytest.mark.parametrize("stage", ["check", "extract_vq", "build_protos", "train_lora", "merge"])
def test_a_missing_base_is_an_error(stage: str, fail: Fail) -> None:
    assert "data/base/" in fail(stage)


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    return subprocess.run(
        [sys.executable, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_error_is_printed_to_stderr_without_traceback_and_the_exit_code_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_python("-m", *command("normalize"))
    assert (result.returncode, result.stdout) == (1, "")
    message = "error: params.yaml: no such file; run from the project's top folder\n"
    assert result.stderr == message


def test_control_characters_of_arguments_and_summaries_are_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", "--typo\x1b[2J"])
    with pytest.raises(SystemExit) as exit_:
        run_stage(lambda: str(stage_arguments("A stage.")))
    assert exit_.value.code == 2
    assert capsys.readouterr().err.endswith("unrecognized arguments: --typo\\x1b[2J\n")
    with pytest.raises(SystemExit):
        run_stage(lambda: "first\nsecond\x1b[2J")
    assert capsys.readouterr().out == "first\nsecond\\x1b[2J\n"


@pytest.mark.parametrize("stage", STAGES)
def test_help_is_printed_without_slow_imports(stage: str) -> None:
    result = run_python("-X", "importtime", "-m", f"stages.{stage}", "--help")
    assert result.returncode == 0
    assert "--params" in result.stdout
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "fishdvc.errors" in imported
    assert not imported & {"numpy", "pydantic", "torch"}

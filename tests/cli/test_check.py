"""`fishdvc check`: what it prints, its last line and its exit code."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from fishdvc.cli import readiness
from fishdvc.cli.estimate import num_frozen, num_trained
from fishdvc.cli.main import main
from fishdvc.params import load_yaml
from tests.model.full_size import FULL_SIZE
from tests.sections import shipped

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(
    top: Path, tmp_path: Path, make_clip: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Check:
    """Run the command in a new project with two clips. Arguments are changes of params.yaml."""
    (tmp_path / "demo_base").mkdir()
    (tmp_path / "demo_base/checkpoint").symlink_to(top / "demo_base/checkpoint")
    for i, text in enumerate(("Hello there.", "How are you?")):
        make_clip(tmp_path / f"data/raw/ann/{i}.wav", seed=i, text=text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readiness, "_measure_gflops", lambda *_: 100.0)

    def run(*options: str, **changes: dict[str, Any]) -> tuple[int, str, str]:
        params = load_yaml(top / "params.yaml")
        params["check"]["min_speaker_minutes"] = 0.0
        params["machine"]["accelerator"] = "cpu"
        for section, values in changes.items():
            params.setdefault(section, {}).update(values)
        Path("params.yaml").write_text(yaml.safe_dump(params))
        code = main(["check", *options])
        return code, *capfd.readouterr()

    return run


def test_a_good_project_is_ready_before_any_stage_has_run(check: Check) -> None:
    code, printed, errors = check()
    lines = printed.splitlines()
    assert (code, errors, lines[-1]) == (0, "", "ready")
    assert [line.split()[0] for line in lines[-8:-1]] == [
        *("base", "packages", "data", "disk", "device", "memory", "time")
    ]
    assert "ann       2 clips         1 s" in lines
    assert not Path("data/reports").exists()


def test_warnings_are_counted_and_histograms_are_an_option(check: Check) -> None:
    samples, rate_hz = soundfile.read("data/raw/ann/0.wav")
    soundfile.write("data/raw/ann/0.wav", np.clip(4 * samples, -1, 1), rate_hz)
    code, printed, _ = check(check={"min_speaker_minutes": 2.0})
    assert code == 0
    assert "  data/raw/ann/0.wav: " in printed
    assert printed.endswith("\n2 warnings\n")
    assert "####" not in printed
    assert "####" in check("--full")[1]


def test_all_problems_of_params_yaml_are_listed_at_once(check: Check) -> None:
    code, printed, errors = check(lora={"r": 0}, train_lora={"max_step": 5}, checks={})
    assert (code, printed) == (1, "")
    assert "lora.r: must be" in errors
    assert "train_lora.max_step: unknown; did you mean 'max_steps'?" in errors
    assert "checks: unknown; did you mean 'check'?" in errors


@pytest.mark.parametrize(
    ("changes", "label", "text"),
    [
        ({"dataset": {"path": "data/none"}}, "data", "data/none: no such folder"),
        ({"machine": {"accelerator": "mps"}}, "device", "PyTorch does not find mps"),
        ({"train_lora": {"max_length": 10**6}}, "base", "train_lora.max_length: must be at most"),
        ({"base": {"codec_checkpoint": "none.pth"}}, "base", "none.pth: no such file"),
    ],
)
def test_what_would_certainly_fail_is_an_error(
    check: Check, changes: Any, label: str, text: str
) -> None:
    code, printed, errors = check(**changes)
    assert code == 1
    assert f"{label:8}  error: " in printed
    assert text in printed
    assert errors == f"error: the run would fail; correct: {label}\n"


def test_too_few_clips_to_train_on_are_an_error(check: Check) -> None:
    code, printed, errors = check(train_lora={"max_length": 20})
    assert code == 1
    assert "training needs at least 2 clips within max_length" in printed
    assert "data" in errors
    Path("data/raw/ann/1.wav").unlink()
    Path("data/raw/ann/1.lab").unlink()
    assert check()[0] == 1


def test_bad_clips_are_an_error_unless_they_are_skipped(check: Check, make_clip: Any) -> None:
    make_clip(Path("data/raw/ann/2.wav"), seed=2, text="Good morning.")
    Path("data/raw/ann/0.lab").write_text(" ")
    code, printed, errors = check()
    assert (code, errors) == (1, "error: the run would fail; correct: data\n")
    assert "  data/raw/ann/0.lab: empty transcript" in printed
    code, printed, _ = check(dataset={"on_bad_clip": "skip"})
    assert (code, printed.splitlines()[-1]) == (0, "1 warning")


def test_a_base_to_download_is_named_with_its_licence(check: Check) -> None:
    code, printed, _ = check(base={"source": "fishaudio/fish-speech-1.5"})
    assert code == 0
    assert (
        "fetch_base downloads fishaudio/fish-speech-1.5 (the published one has 1.5 GB)" in printed
    )
    assert "CC-BY-NC-SA 4.0" in printed
    assert "\nmemory" not in printed


def test_missing_and_old_packages_and_a_full_disk_are_warnings(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "tqdm":
            raise readiness.metadata.PackageNotFoundError(name)
        return "0.1" if name == "peft" else "99"

    monkeypatch.setattr(readiness.metadata, "version", version)
    usage = shutil.disk_usage(".")._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    code, printed, _ = check()
    assert (code, printed.splitlines()[-1]) == (0, "2 warnings")
    assert "peft>=0.21 is needed, 0.1 is installed; tqdm>=4.67 is not installed" in printed
    assert "disk      warning: 0.0 GB free, the run writes about" in printed


def test_sizes_of_the_full_size_model_and_its_adapter() -> None:
    assert num_frozen(FULL_SIZE) == 637_921_280
    assert num_trained(FULL_SIZE, shipped("lora", r=8)) == 6_171_136

"""benchmarks/gpu.py reports what fails and runs the rest."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts.measuring import Record


def test_a_failing_case_is_recorded_with_its_traceback_and_the_next_one_runs(
    tmp_path: Path,
) -> None:
    record = Record(tmp_path / "record", torch.device("cpu"))
    with record.case("first") as figures:
        figures["s"] = 1.5
        raise ValueError("wrong\nmore")
    with record.case("second") as figures:
        figures["s"] = 2.5
    first, second = map(json.loads, (tmp_path / "record").read_text().splitlines())
    assert (first["case"], first["s"], first["error"]) == ("first", 1.5, "ValueError: wrong")
    assert 'raise ValueError("wrong\\nmore")' in first["traceback"]
    assert second == {"case": "second", "s": 2.5}


def test_a_part_that_cannot_start_is_reported_and_the_exit_code_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {"card": "CPU", "torch": "2", "memory_gb": None, "date": "today", "commit": "0"}
    monkeypatch.setattr(gpu, "describe", lambda _device: about)
    monkeypatch.setattr(gpu, "SHARES", {"missing": 1})
    result = tmp_path / "gpu.json"
    words = ["gpu.py", "--device=cpu", "--tiny", f"--json={result}", "--parts", "missing"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        gpu.main()
    assert caught.value.code == 1
    (case,) = json.loads(result.read_text())["cases"]
    problem = "ModuleNotFoundError: No module named 'gpu_parts.missing'"
    assert (case["part"], case["error"]) == ("missing", problem)
    assert "Traceback" in case["traceback"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == f"| missing | FAILED: {problem} |"
    assert json.loads(printed[-1])["cases"] == [case]


@pytest.mark.parametrize("name", ["missing/gpu.json", "."])
def test_a_result_that_cannot_be_written_is_named_before_the_parts_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "describe", None)
    monkeypatch.setattr("sys.argv", ["gpu.py", f"--json={tmp_path / name}"])
    with pytest.raises(SystemExit, match=f"^--json: .*{tmp_path}"):
        gpu.main()

"""Unusable clips are listed in the error or in the report."""

from pathlib import Path

import pytest

from fishdvc.corpus.bad_clips import OnBadClip, fail_or_report
from fishdvc.errors import DatasetError

PROBLEMS = [f"{i}.wav: bad" for i in range(25)]


def call(problems: list[str], on_bad_clip: OnBadClip, report: Path, *, num_good: int = 1) -> None:
    fail_or_report("normalize", problems, num_good=num_good, on_bad_clip=on_bad_clip, report=report)


def test_fail_raises_an_error_with_the_first_20_and_the_count(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        call(PROBLEMS, "fail", tmp_path / "r")
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "normalize: correct these, or set dataset.on_bad_clip: skip to leave them out "
        "(25 problems):"
    )
    assert lines[20:] == ["  19.wav: bad", "  ... and 5 more"]
    assert not (tmp_path / "r").exists()


def test_skip_writes_all_problems_to_the_report(tmp_path: Path) -> None:
    call(PROBLEMS, "skip", tmp_path / "a/r")
    assert (tmp_path / "a/r").read_text().splitlines() == ["normalize: 25 problems", *PROBLEMS]


@pytest.mark.parametrize("on_bad_clip", ["fail", "skip"])
def test_the_report_is_written_without_problems(on_bad_clip: OnBadClip, tmp_path: Path) -> None:
    call([], on_bad_clip, tmp_path / "r")
    assert (tmp_path / "r").read_text() == "normalize: 0 problems\n"


def test_skipping_all_clips_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no clip is left; correct these"):
        call(["1.wav: bad"], "skip", tmp_path / "r", num_good=0)
    assert not (tmp_path / "r").exists()

"""Reports of unusable clips."""

from pathlib import Path

from fishdvc.corpus.bad_clips import write_report


def test_a_report_has_one_line_for_each_item_and_no_control_characters(tmp_path: Path) -> None:
    write_report(tmp_path / "report.txt", "2 items", ["a\x1b[31m", "b\n\udcff"])
    assert (tmp_path / "report.txt").read_text() == "2 items\na\\x1b[31m\nb\\n\\xff\n"

"""The data report, built from measures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishdvc.audio.measures import AudioMeasures
from fishdvc.corpus.clips import Clip
from fishdvc.corpus.findings import DataReport
from fishdvc.corpus.measured import MeasuredClip
from fishdvc.corpus.report import Target, build_report
from fishdvc.corpus.report_text import format_report, one_line, read_report, write_report
from fishdvc.errors import DatasetError
from fishdvc.text.tokenizer import load_tokenizer
from tests.sections import shipped

Measure = Callable[..., MeasuredClip]
TEXT = "There are twenty-seven letters here."


def measured(name: str, text: str = TEXT, **changes: Any) -> MeasuredClip:
    """A clip with a fingerprint of its own and no fault."""
    random = np.random.default_rng(list(name.encode()))
    values: dict[str, Any] = {
        "sample_rate_hz": 44_100,
        "duration_s": 2.5,
        "loudness_lufs": -20.0,
        "peak_dbfs": -5.0,
        "clipped_share": 0.0,
        "bandwidth_hz": 16_000.0,
        "start_silence_s": 0.1,
        "end_silence_s": 0.1,
        "longest_pause_s": 0.2,
        "fingerprint": tuple(random.integers(0, 41, 256).tolist()),
    }
    clip = Clip(name=name, audio=Path(f"raw/{name}.wav"), transcript=Path(f"raw/{name}.lab"))
    return MeasuredClip(clip=clip, text=text, audio=AudioMeasures(**{**values, **changes}))


def report_on(*clips: MeasuredClip, max_length: int = 2048, **options: Any) -> DataReport:
    target = Target(
        loudness_lufs=-23.0,
        peak_ceiling_dbfs=-1.0,
        max_length=max_length,
        tokenizer=options.pop("tokenizer", None),
    )
    unusable = options.pop("unusable", [])
    params = shipped("check", **{"min_speaker_minutes": 0.0, **options})
    return build_report(clips, unusable, params, target)


def warned(report: DataReport) -> dict[str, tuple[str, ...]]:
    return {warning.kind: warning.files for warning in report.warnings}


def test_good_clips_give_no_warning() -> None:
    texts = [f"{word} is one sentence of many." for word in ("This", "That", "Here", "There")]
    clips = [measured(f"ann/{i}", text) for i, text in enumerate(texts)]
    report = report_on(*clips)
    assert warned(report) == {}
    assert [(s.name, s.num_clips, s.duration_s) for s in report.speakers] == [("ann", 4, 10.0)]
    assert all(sum(histogram.counts) == 4 for histogram in report.histograms)
    assert all(len(h.edges) == len(h.counts) + 1 for h in report.histograms)


@pytest.mark.parametrize(
    ("kind", "changes", "value"),
    [
        ("clipping", {"clipped_share": 0.012}, "1.20 % of the samples"),
        ("bandwidth", {"bandwidth_hz": 3_456.0}, "sound up to 3,456 Hz, in a file of 44,100 Hz"),
        ("edge_silence", {"end_silence_s": 0.9}, "0.1 s at the start, 0.9 s at the end"),
        ("pause", {"longest_pause_s": 1.8}, "1.8 s"),
        ("quiet", {"loudness_lufs": -40.0}, "13.0 LU below the target"),
        ("too_long", {"duration_s": 100.0}, "about 2153 tokens, 100.0 s"),
    ],
)
def test_a_faulty_clip_is_named_with_the_value(kind: str, changes: Any, value: str) -> None:
    good = measured("ann/good", "Another sentence that is spoken.")
    report = report_on(good, measured("ann/bad", **changes))
    assert warned(report) == {kind: (f"raw/ann/bad.wav: {value}",)}


def test_speakers_with_little_speech_and_unusable_clips_are_named() -> None:
    clip = measured("ann/a", duration_s=90.0)
    found = warned(report_on(clip, unusable=["raw/ann/b.wav: silence"], min_speaker_minutes=2.0))
    assert found == {"unusable": ("raw/ann/b.wav: silence",), "little_data": ("ann: 1.5 min",)}


def test_copies_are_paired_once_also_across_speakers() -> None:
    first, *others = (measured(name) for name in ("ann/a", "ann/b", "bob/c"))
    copies = [
        measured(clip.clip.name, fingerprint=tuple(value + 3 for value in first.audio.fingerprint))
        for clip in others
    ]
    assert warned(report_on(first, *copies)) == {
        "copies": (
            "raw/ann/a.wav = raw/ann/b.wav: 0.0 dB apart",
            "raw/ann/a.wav = raw/bob/c.wav: 0.0 dB apart",
        )
    }


def test_equal_transcripts_of_a_speaker_are_named_unless_they_are_short() -> None:
    spelled = "there are twenty seven letters HERE"
    clips = [measured("ann/a"), measured("ann/b", spelled), measured("bob/c")]
    short = [measured("ann/d", "Thank you.", duration_s=0.9), measured("ann/e", "Thank you.")]
    assert warned(report_on(*clips, *short)) == {
        "repeated_text": (f"raw/ann/a.wav = raw/ann/b.wav: {TEXT}",)
    }


def test_a_shuffled_pair_of_transcripts_is_named() -> None:
    words = [f"word{'s' * (i % 23)} number {i}" for i in range(40)]
    clips = [
        measured(f"ann/{i}", w, duration_s=0.2 + (len(w) + 6) / 15) for i, w in enumerate(words)
    ]
    long = "A sentence that is a great deal longer than all of the other ones"
    clips.append(measured("ann/long", "Short.", duration_s=0.2 + (len(long) + 6) / 15))
    clips.append(measured("ann/short", long, duration_s=1.0))
    long_line, short_line = warned(report_on(*clips))["speaking_rate"]
    assert long_line == "raw/ann/long.wav: 0.14 times the usual rate, 4.9 s: Short."
    assert short_line.startswith("raw/ann/short.wav: 4.41 times the usual rate, 1.0 s: A sent")


def test_transcripts_in_characters_unknown_to_the_tokenizer_are_named(top: Path) -> None:
    tokenizer = load_tokenizer(top / "demo_base/checkpoint")
    clips = [measured("ann/a"), measured("ann/b", "สวัสดี abc"), measured("ann/c", "C'è una è qui.")]
    (line,) = warned(report_on(*clips, tokenizer=tokenizer))["split_characters"]
    assert line.startswith("raw/ann/b.wav: 67 %: ")


def test_the_report_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    report = report_on(measured("ann/a", duration_s=100.0), unusable=["raw/ann/b.wav: silence"])
    write_report(tmp_path / "check.json", report)
    assert read_report(tmp_path / "check.json") == report
    (tmp_path / "check.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"check\.json: not a data report"):
        read_report(tmp_path / "check.json")


def test_the_text_lists_all_files_or_some() -> None:
    report = report_on(
        *(measured(f"ann/{i}", f"Sentence {i}.", longest_pause_s=2.0) for i in range(9))
    )
    assert format_report(report).count("raw/ann/") == 9
    short = format_report(report, histograms=False, max_files=2)
    assert short.count("raw/ann/") == 2
    assert "  ... and 7 more" in short.splitlines()
    assert "#" not in short
    assert one_line(report) == "9 clips of 1 speaker, 22 s, warnings: pause (9)"


def test_a_report_without_usable_clips_is_written() -> None:
    report = report_on(unusable=["raw/ann/b.wav: silence"])
    assert report.histograms == ()
    assert "raw/ann/b.wav: silence" in format_report(report)

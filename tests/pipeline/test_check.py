"""Stage check: planted faults are named, nothing stops the run, and the cache."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import fishdvc.pipeline.check as stage
from fishdvc.corpus.report_text import read_report

RAW = Path("raw")
RATE_HZ = 16_000


@pytest.fixture
def run(shipped: Any, top: Path) -> Any:
    def run(*, workers: int = 1, **changes: Any) -> str:
        return stage.check(
            shipped("dataset", path="raw"),
            shipped("check", **{"min_speaker_minutes": 0.0, **changes}),
            shipped("normalize"),
            max_length=2048,
            workers=workers,
            base=top / "demo_base/checkpoint",
            report=Path("reports/check.json"),
            text=Path("reports/check.txt"),
        )

    return run


@pytest.fixture
def _clips(make_clip: Any, work: Path) -> None:  # noqa: ARG001
    """Clips of one speaker, each as long as its transcript and with its own loud syllables."""
    rng = np.random.default_rng(0)

    def modulate(samples: Any) -> Any:
        gains = 10 ** rng.uniform(-1.2, 0, len(samples) // 1600 + 1)
        return samples * np.interp(np.arange(len(samples)) / 1600, np.arange(len(gains)), gains)

    for i in range(20):
        text = f"Clip {'one two three four five six seven eight nine ten'[: 4 + 2 * i]}, spoken."
        make_clip(RAW / f"ann/{i:02}.wav", seed=i, seconds=len(text) / 15, text=text)
        damage(f"ann/{i:02}.wav", modulate)


def warned() -> dict[str, list[str]]:
    """Names of the clips in the report, by the kind of warning."""
    warnings = read_report(Path("reports/check.json")).warnings
    return {w.kind: [file.split(":")[0].removeprefix("raw/") for file in w.files] for w in warnings}


def damage(name: str, change: Any) -> None:
    samples, _ = soundfile.read(RAW / name)
    soundfile.write(RAW / name, change(samples), RATE_HZ)


def cut_off_above_3400_hz(samples: Any) -> Any:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE_HZ) > 3400] = 0
    return np.fft.irfft(spectrum, len(samples))


@pytest.mark.usefixtures("_clips")
def test_planted_faults_are_named_and_no_other_clip_is(run: Any, make_clip: Any) -> None:
    run()
    assert warned() == {}
    damage("ann/01.wav", lambda samples: np.clip(3 * samples, -1, 1))
    damage("ann/02.wav", cut_off_above_3400_hz)
    damage("ann/03.wav", lambda samples: np.pad(samples, (2 * RATE_HZ, RATE_HZ)))
    half = RATE_HZ // 2
    damage("ann/04.wav", lambda s: np.concatenate([s[:half], np.zeros(3 * half), s[half:]]))
    shuffled = RAW / "ann/00.lab", RAW / "ann/18.lab"
    texts = [path.read_text() for path in shuffled]
    for path, text in zip(shuffled, reversed(texts), strict=True):
        path.write_text(text)
    (RAW / "ann/19copy.lab").write_text("Nineteen, in another file and format.")
    soundfile.write(RAW / "ann/19copy.mp3", 0.3 * soundfile.read(RAW / "ann/19.wav")[0], RATE_HZ)
    make_clip(RAW / "ann/20.wav", text=" ")
    make_clip(RAW / "ann/21.wav", peak=1e-5)
    make_clip(RAW / "ann/22.wav", seconds=0.04)
    (RAW / "ann/23.flac").write_bytes(b"fLaC")
    (RAW / "ann/23.lab").write_text("Damaged.")
    summary = run()
    found = warned()
    assert found.pop("speaking_rate") == ["ann/00.wav", "ann/04.wav", "ann/18.wav"]
    assert found == {
        "unusable": ["ann/20.lab", "ann/21.wav", "ann/22.wav", "ann/23.flac"],
        "clipping": ["ann/01.wav"],
        "bandwidth": ["ann/02.wav"],
        "edge_silence": ["ann/03.wav"],
        "pause": ["ann/04.wav"],
        "copies": ["ann/19.wav = raw/ann/19copy.mp3"],
    }
    assert summary.startswith("check: 21 clips of 1 speaker, 58 s, warnings: unusable (4), ")
    assert ", see reports/check.txt, " in summary
    assert "raw/ann/02.wav: sound up to 3," in Path("reports/check.txt").read_text()


@pytest.mark.usefixtures("_clips")
def test_only_new_clips_are_measured_again(
    run: Any, make_clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    first = Path("reports/check.json").read_bytes()
    read: list[str] = []
    read_waveform = stage.read_waveform

    def record(path: Path) -> Any:
        read.append(path.name)
        return read_waveform(path)

    monkeypatch.setattr(stage, "read_waveform", record)
    run()
    assert Path("reports/check.json").read_bytes() == first
    make_clip(RAW / "ann/new.wav", seed=99)
    run(max_pause_s=0.5)
    assert read == ["new.wav"]


@pytest.mark.usefixtures("_clips")
def test_a_run_in_two_processes_gives_the_same_report(run: Any, make_clip: Any) -> None:
    for i in range(15):
        make_clip(RAW / f"bob/{i}.wav", seed=50 + i, text=f"Bob says {i}.")
    run(workers=2)
    in_two = Path("reports/check.json").read_bytes()
    run()
    assert Path("reports/check.json").read_bytes() == in_two

"""Measure the stage extract_vq on FLAC files of many lengths, from reading to writing codes."""

import json
import shutil
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from full_size_base import CODEC_NAME

from fishdvc.machine import MachineParams
from fishdvc.pipeline.extract_vq import ExtractVqParams, extract_vq
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams
from gpu_parts.measuring import Record, Setup, peak_gb, repeat_s, section

RATES_HZ = (16_000, 44_100)
NUM_FIRST = 32
NUM_CLIPS = 1600
CLIP_S = (0.8, 8.0)
"""Shortest and longest clip. Every clip has another length."""


@dataclass(frozen=True)
class Clips:
    """A folder of clips, all at one sample rate."""

    folder: Path
    num_clips: int
    duration_s: float


def measure(setup: Setup, record: Record) -> None:
    """Record a first run on a few clips and runs on many clips at each sample rate."""
    num_first, num_clips = (4, 8) if setup.tiny else (NUM_FIRST, NUM_CLIPS)
    seconds_per_clip = 0.0
    with record.case(f"encode {num_first} clips, first run of the process") as figures:
        clips = write_clips(Path("first"), num_first, RATES_HZ[0], seed=0)
        wall_s = encode(setup, clips, figures, budget_s=0)
        seconds_per_clip = wall_s / num_first
    for seed, rate_hz in enumerate(RATES_HZ, start=1):
        share_s = setup.budget_s / len(RATES_HZ)
        num_fitting = int(share_s / seconds_per_clip) if seconds_per_clip else num_clips
        num_chosen = max(num_first, min(num_clips, num_fitting))
        with record.case(f"encode {num_chosen} clips at {rate_hz} Hz") as figures:
            clips = write_clips(Path(str(rate_hz)), num_chosen, rate_hz, seed=seed)
            encode(setup, clips, figures, budget_s=share_s)


def write_clips(folder: Path, num_clips: int, rate_hz: int, *, seed: int) -> Clips:
    """Write noise with a slow envelope, as 16-bit FLAC."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    lengths = rng.choice(np.arange(*(int(s * rate_hz) for s in CLIP_S)), num_clips, replace=False)
    noise = rng.normal(0, 0.1, int(CLIP_S[1] * rate_hz)).clip(-1, 1)
    envelope = 0.5 + 0.5 * np.sin(np.arange(len(noise)) * (2 * np.pi * 4 / rate_hz))
    samples = noise * envelope

    def write(i: int) -> None:
        soundfile.write(folder / f"{i:04}.flac", samples[: lengths[i]], rate_hz)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(num_clips)))
    return Clips(folder, num_clips, float(lengths.sum()) / rate_hz)


def encode(setup: Setup, clips: Clips, figures: dict[str, object], *, budget_s: float) -> float:
    """Run the stage, each time without its cache. Return the median time."""

    def run() -> None:
        shutil.rmtree(".fishdvc_cache", ignore_errors=True)
        extract_vq(
            section("base", BaseParams, codec_checkpoint=CODEC_NAME),
            section("dataset", DatasetParams, on_bad_clip="fail"),
            section("extract_vq", ExtractVqParams),
            section("machine", MachineParams, accelerator=setup.device.type),
            base=setup.base,
            normalized=clips.folder,
            codes=Path("codes"),
            skipped=Path("skipped.txt"),
            metrics=Path("metrics.json"),
        )

    times_s = repeat_s(setup.device, run, budget_s=budget_s, most=3)
    found = json.loads(Path("metrics.json").read_text())["num_clips"]
    if found != clips.num_clips:
        raise ValueError(f"expected the codes of {clips.num_clips} clips, got {found}")
    wall_s = statistics.median(times_s)
    figures["x_real_time"] = clips.duration_s / wall_s
    figures["audio_s"] = clips.duration_s
    figures["wall_s"] = wall_s
    figures["peak_gb"] = peak_gb(setup.device)
    figures["runs"] = len(times_s)
    return wall_s

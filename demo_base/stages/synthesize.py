"""Speak the texts by flite, and decode the human prompts; all at 16 kHz and one loudness.

flite (Debian package, BSD-like licence) is called, not linked. The human prompts are from Debian's
packages, decoded by ffmpeg; README.md has their licences.
"""

import argparse
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import Field

from demo_base.prompts import HUMAN_VOICES
from fishdvc.audio.loudness import loudness_gain
from fishdvc.audio.waveform import Waveform, read_waveform, write_flac
from fishdvc.errors import AudioError
from fishdvc.params import read_params
from fishdvc.validation import Checked, Items

PEAK_CEILING_DBFS = -1.0
SILENCE_THRESHOLD_DBFS = -60.0


class SynthesizeParams(Checked):
    """Section ``synthesize`` of params.yaml."""

    voices: Items[str] = Field(description="Voices of flite.")
    num_texts: Items[int] = Field(description="How many each voice speaks, none of them another's.")
    target_loudness_lufs: float = Field(description="Of every clip.", lt=0)


def run_and_normalize(command: list[str], out: Path, *, target_loudness_lufs: float) -> None:
    """Run a command that writes a WAV file, its last argument, and write it at one loudness."""
    try:
        with NamedTemporaryFile(suffix=".wav") as wav:
            subprocess.run([*command, wav.name], check=True, capture_output=True)
            spoken = read_waveform(Path(wav.name))
        gain = loudness_gain(
            spoken.samples,
            spoken.sample_rate_hz,
            target_loudness_lufs=target_loudness_lufs,
            peak_ceiling_dbfs=PEAK_CEILING_DBFS,
            silence_threshold_dbfs=SILENCE_THRESHOLD_DBFS,
        ).gain
    except AudioError:
        return  # among the prompts are empty clips and clips of silence
    louder = Waveform(samples=spoken.samples * gain, sample_rate_hz=spoken.sample_rate_hz)
    write_flac(out, louder, comment="demo base")


def main() -> None:
    """Write ``<voice>/<line>.flac`` with its text in ``<line>.lab``, and the human prompts.

    Of these, some have no text.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    params = read_params(args.params, "synthesize", SynthesizeParams)
    normalized = partial(run_and_normalize, target_loudness_lufs=params.target_loudness_lufs)

    jobs: list[tuple[list[str], Path]] = []
    for voice, prompts in HUMAN_VOICES.items():
        (args.speech / voice).mkdir(parents=True, exist_ok=True)
        texts = dict(prompts.texts())
        for name, source in prompts.recordings().items():
            path = args.speech / voice / f"{name.replace('/', '-')}.flac"
            if name in texts:
                path.with_suffix(".lab").write_text(texts[name], encoding="utf-8")
            jobs.append((["ffmpeg", "-v", "error", "-y", "-i", str(source)], path))
    lines = enumerate((args.texts / "train.txt").read_text().splitlines())
    for voice, num_texts in zip(params.voices, params.num_texts, strict=True):
        (args.speech / voice).mkdir(parents=True, exist_ok=True)
        for number, line in islice(lines, num_texts):
            path = args.speech / voice / f"{number:05d}.flac"
            path.with_suffix(".lab").write_text(line, encoding="utf-8")
            jobs.append((["flite", "-voice", voice, "-t", line, "-o"], path))
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda job: normalized(*job), jobs):
            pass
    print(f"synthesize: {len(jobs)} clips")


if __name__ == "__main__":
    main()

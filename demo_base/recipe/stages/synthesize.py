"""Speak the texts with flite and decode the human recordings, all at 16 kHz and one loudness.

flite and ffmpeg are programs of Debian packages. README.md has the licences of the speech.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import Field

from demo_base.recipe import paths
from demo_base.recipe.voices import HUMAN_VOICES
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
    num_texts: Items[int] = Field(
        description="Number of texts of each voice. No text is spoken twice."
    )
    target_loudness_lufs: float = Field(description="Loudness of every clip.", lt=0)


def flite_command(voice: str, text: str) -> list[str]:
    """Return the command that speaks a text. The WAV file to write must be appended."""
    return ["flite", "-voice", voice, "-t", text, "-o"]


def decode_command(recording: Path) -> list[str]:
    """Return the command that decodes a recording. The WAV file to write must be appended."""
    return ["ffmpeg", "-v", "error", "-y", "-i", str(recording)]


def normalized_audio(command: list[str], *, target_loudness_lufs: float) -> Waveform | None:
    """Run a command that writes a WAV file and normalize its loudness.

    Returns:
        The waveform, or None if it is empty or silent, as some of the human recordings are.
    """
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
        return None
    return Waveform(samples=spoken.samples * gain, sample_rate_hz=spoken.sample_rate_hz)


def main() -> None:
    """Write ``<voice>/<clip>.flac`` with its text in ``<clip>.lab``; human clips may have none."""
    params = read_params(paths.PARAMS, "synthesize", SynthesizeParams)

    jobs: list[tuple[list[str], Path]] = []
    for voice, prompts in HUMAN_VOICES.items():
        (paths.SPEECH / voice).mkdir(parents=True, exist_ok=True)
        texts = dict(prompts.texts())
        for name, source in prompts.recordings().items():
            path = paths.SPEECH / voice / f"{name.replace('/', '-')}.flac"
            if name in texts:
                path.with_suffix(".lab").write_text(texts[name], encoding="utf-8")
            jobs.append((decode_command(source), path))
    lines = enumerate((paths.TEXTS / "train.txt").read_text().splitlines())
    for voice, num_texts in zip(params.voices, params.num_texts, strict=True):
        (paths.SPEECH / voice).mkdir(parents=True, exist_ok=True)
        for number, line in islice(lines, num_texts):
            path = paths.SPEECH / voice / f"{number:05d}.flac"
            path.with_suffix(".lab").write_text(line, encoding="utf-8")
            jobs.append((flite_command(voice, line), path))

    def run(job: tuple[list[str], Path]) -> None:
        command, path = job
        audio = normalized_audio(command, target_loudness_lufs=params.target_loudness_lufs)
        if audio is not None:
            write_flac(path, audio, comment="demo base")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, jobs))
    print(f"synthesize: {len(jobs)} clips")


if __name__ == "__main__":
    main()

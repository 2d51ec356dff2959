"""Speak the texts with Kokoro and hibari, and decode the human recordings. All speech is 16 kHz.

The phones of spoken clips and their times are written beside them.
README.md has the packages and the licences of the speech.
"""

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import Field

from demo_base.recipe import paths
from demo_base.recipe.phones import Phone, write_phones
from demo_base.recipe.speakers import speak, voice_names
from demo_base.recipe.voices import HUMAN_VOICES
from fishdvc.audio.loudness import loudness_gain
from fishdvc.audio.waveform import Waveform, read_waveform, write_flac
from fishdvc.errors import AudioError
from fishdvc.parallel import map_in_processes
from fishdvc.params import read_params
from fishdvc.storage.atomic import atomic_file
from fishdvc.validation import Checked, Items


class SynthesizeParams(Checked):
    """Section ``synthesize`` of params.yaml."""

    seed: int = Field(description="Seed of the choice of mixed voices.")
    left_out_voices: Items[str] = Field(description="Voices of Kokoro that speak nothing.")
    held_out_voices: Items[str] = Field(
        description="Voices of Kokoro that speak only the held-out sentences."
    )
    num_mixed_voices: int = Field(description="Means of two voices of Kokoro.", ge=0)
    voices_per_text: int = Field(description="Voices of Kokoro that speak a text.", ge=1)
    min_kokoro_speed: float = Field(description="Slowest tempo of Kokoro.", gt=0)
    max_kokoro_speed: float = Field(description="Fastest tempo of Kokoro.", gt=0)
    num_kokoro_texts: int = Field(description="Texts that Kokoro speaks, the first ones.", ge=1)
    num_hibari_texts: int = Field(description="Texts that hibari speaks, the first ones.", ge=0)
    hibari_speeds: Items[float] = Field(
        description="Factors of hibari's tempo and pitch. Each is a voice; one speaks a text."
    )


@dataclass(frozen=True)
class Clip:
    """A clip of speech. Its voice is the name of its folder."""

    path: Path
    text: str | None
    """In ``<clip>.lab``. None if it is unknown."""
    recording: Path | None = None
    """A human recording to decode. None: the text is spoken."""
    speed: float = 1.0
    """Tempo of Kokoro."""

    def is_written(self) -> bool:
        """Return whether the clip exists with this text, and with its phones if it is spoken."""
        lab = self.path.with_suffix(".lab")
        written = lab.read_text(encoding="utf-8") if lab.exists() else None
        has_phones = self.recording or self.path.with_suffix(".phones").exists()
        return self.path.exists() and written == self.text and bool(has_phones)


def normalized(audio: Waveform) -> Waveform:
    """Bring a clip to -23 LUFS. Raise AudioError if it is silent, as some recordings are."""
    gain = loudness_gain(
        audio.samples,
        audio.sample_rate_hz,
        target_loudness_lufs=-23.0,
        peak_ceiling_dbfs=-1.0,
        silence_threshold_dbfs=-60.0,
    ).gain
    return Waveform(samples=audio.samples * gain, sample_rate_hz=audio.sample_rate_hz)


def decoded(recording: Path) -> Waveform:
    """Decode a recording with ffmpeg, which reads G.722 without a header."""
    with NamedTemporaryFile(suffix=".wav") as wav:
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(recording), wav.name]
        subprocess.run(command, check=True, capture_output=True)
        return read_waveform(Path(wav.name))


def write_clip(clip: Clip) -> str | None:
    """Write a clip and its text. Return the problem of a clip that is left out."""
    phones: list[Phone] | None = None
    try:
        if clip.recording:
            audio = decoded(clip.recording)
        else:
            audio, phones = speak(clip.text or "", clip.path.parent.name, speed=clip.speed)
        audio = normalized(audio)
    except (AudioError, subprocess.CalledProcessError) as error:
        return f"{clip.path}: {error}"
    clip.path.parent.mkdir(parents=True, exist_ok=True)
    # An interrupted run must not leave a clip with the text of another.
    clip.path.unlink(missing_ok=True)
    if clip.text is not None:
        clip.path.with_suffix(".lab").write_text(clip.text, encoding="utf-8")
    if phones is not None:
        write_phones(clip.path.with_suffix(".phones"), phones)
    with atomic_file(clip.path) as partial:
        write_flac(partial, audio, comment="demo base")
    return None


def write_clips(folder: Path, clips: Sequence[Clip]) -> None:
    """Write the clips that a folder lacks, and delete all others in it."""
    for path in set(folder.glob("*/*.flac")) - {clip.path for clip in clips}:
        path.unlink()
        for suffix in (".lab", ".phones"):
            path.with_suffix(suffix).unlink(missing_ok=True)
    missing = [clip for clip in clips if not clip.is_written()]
    results = list(map_in_processes(write_clip, missing, workers=0, label=str(folder)))
    problems = [result for result in results if result]
    print(f"{folder}: {len(clips)} clips, {len(missing)} new, {len(problems)} of these left out")
    print(*(f"left out: {problem}" for problem in problems), sep="\n", end="\n" if problems else "")


def recorded_clips() -> Iterator[Clip]:
    """List the human recordings. Some have no text."""
    for voice, prompts in HUMAN_VOICES.items():
        texts = dict(prompts.texts())
        for name, recording in prompts.recordings().items():
            path = paths.SPEECH / voice / f"{name.replace('/', '-')}.flac"
            yield Clip(path, texts.get(name), recording)


def spoken_clips(texts: Sequence[str], params: SynthesizeParams) -> Iterator[Clip]:
    """Choose voices for each text. A text keeps its voices if the number of texts changes."""
    voices = voice_names(
        paths.KOKORO_VOICES,
        left_out={*params.left_out_voices, *params.held_out_voices},
        num_mixed=params.num_mixed_voices,
        seed=params.seed,
    )
    for number, text in enumerate(texts[: params.num_kokoro_texts]):
        rng = random.Random(number)
        for voice in rng.sample(voices, params.voices_per_text):
            speed = rng.uniform(params.min_kokoro_speed, params.max_kokoro_speed)
            yield Clip(paths.SPEECH / voice / f"{number:05d}.flac", text, speed=speed)
    for number, text in enumerate(texts[: params.num_hibari_texts]):
        speed = random.Random(number).choice(params.hibari_speeds)
        yield Clip(paths.SPEECH / f"hibari-{speed * 100:.0f}" / f"{number:05d}.flac", text)


def main() -> None:
    """Write ``<voice>/<clip>.flac``, with its text in ``<clip>.lab`` if it is known."""
    params = read_params(paths.PARAMS, "synthesize", SynthesizeParams)
    texts = (paths.TEXTS / "train.txt").read_text().splitlines()
    write_clips(paths.SPEECH, [*recorded_clips(), *spoken_clips(texts, params)])


if __name__ == "__main__":
    main()

"""Speak the held-out sentences with the held-out voices, for ``evaluate.py`` only."""

from demo_base.recipe import paths
from demo_base.recipe.stages.synthesize import Clip, SynthesizeParams, write_clips
from fishdvc.params import read_params


def main() -> None:
    """Write ``<voice>/<clip>.flac`` and ``<clip>.lab``. The voices take turns."""
    voices = read_params(paths.PARAMS, "synthesize", SynthesizeParams).held_out_voices
    texts = (paths.TEXTS / "held_out.txt").read_text().splitlines()
    clips = [
        Clip(paths.HELD_OUT_SPEECH / voices[number % len(voices)] / f"{number:05d}.flac", text)
        for number, text in enumerate(texts)
    ]
    write_clips(paths.HELD_OUT_SPEECH, clips)


if __name__ == "__main__":
    main()

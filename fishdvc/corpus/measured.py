"""A clip with its transcript and the measures of its recording."""

from dataclasses import dataclass

from fishdvc.audio.measures import AudioMeasures
from fishdvc.corpus.clips import Clip
from fishdvc.corpus.speaking_rate import spoken_letters


@dataclass(frozen=True, kw_only=True)
class MeasuredClip:
    """A clip that can be used.

    Attributes:
        clip: Its name and files.
        text: Transcript without annotations.
        audio: Measures of the recording.
    """

    clip: Clip
    text: str
    audio: AudioMeasures

    @property
    def letters_per_s(self) -> float:
        """Speaking rate, from the first sound to the last one."""
        return spoken_letters(self.text) / self.audio.sound_s

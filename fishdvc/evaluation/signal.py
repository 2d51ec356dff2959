"""Metrics that need no recognizer: duration, silence, clipping, loops, pitch and spectrum."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fishdvc.audio.pitch import pitch_contour
from fishdvc.evaluation.loops import looped_share
from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.samples import SAMPLE_RATE_HZ, Samples, at_16_khz
from fishdvc.storage.cache import combined_key

LEVEL_FRAME_S = 0.02
SILENCE_DB = 35.0
"""Frames that are quieter than the loudest 5 % of frames by more than this are silent."""
SILENCE_RMS = 1e-3
"""Frames below it, -60 dB of full scale, are always silent."""
CLIPPED = 0.999
MAX_F0_DIFFERENCE = 12.0
"""In semitones. Speech without a voiced frame counts as one octave."""
BAND_CENTERS_HZ = 1000.0 * 2.0 ** (np.arange(-10, 9) / 3)
"""Third-octave bands from 100 Hz to 6.3 kHz."""
BAND_RANGE_DB = 60.0
"""Weaker bands, relative to the strongest, count as if they had this level."""
SPECTRUM_SAMPLES = 1024

METRICS = (
    Metric(
        name="ended_share",
        title="Ends by itself",
        better="higher",
        meaning="Share of sentences that end before the maximum length.",
    ),
    Metric(
        name="looped_share",
        title="Loops",
        better="lower",
        meaning="Share of the speech in which a sequence of codes repeats an earlier one.",
    ),
    Metric(
        name="duration_ratio",
        title="Duration",
        better=None,
        meaning="Duration divided by that of the recording, or of the text at the speaker's rate.",
    ),
    Metric(
        name="longest_silence_s",
        title="Longest silence",
        better="lower",
        meaning="Duration of the longest silence, in seconds, at the ends too.",
    ),
    Metric(
        name="clipped_share",
        title="Clipping",
        better="lower",
        meaning="Share of samples at full scale.",
        digits=4,
    ),
    Metric(
        name="f0_difference_semitones",
        title="Pitch difference",
        better="lower",
        meaning="Difference of the median pitch from the speaker's, in semitones.",
    ),
    Metric(
        name="f0_range_difference_semitones",
        title="Pitch range",
        better=None,
        meaning="Range of the pitch minus the speaker's, in semitones. Below 0 is monotonous.",
    ),
    Metric(
        name="ltas_difference_db",
        title="Spectrum difference",
        better="lower",
        meaning="Difference of the average spectrum from the speaker's, in dB at equal level.",
    ),
    Metric(
        name="voice_difference",
        title="Voice difference",
        better="lower",
        meaning="Pitch difference in semitones plus spectrum difference in dB.",
    ),
)


class VoiceProfile(NamedTuple):
    """Averages over a speaker's recordings.

    Attributes:
        s_per_character: Seconds of speech per character of text.
        f0_semitones: Median of the recordings' median F0, in semitones above 1 Hz. NaN if no
            recording is voiced.
        f0_range_semitones: Median of the recordings' ranges of F0. NaN if none is voiced.
        ltas_db: Level of each band, ``(bands,)``, with mean 0.
    """

    s_per_character: float
    f0_semitones: float
    f0_range_semitones: float
    ltas_db: tuple[float, ...]


class SignalJudge:
    """Measures everything that needs no optional package.

    Args:
        speakers: For each speaker, recordings of its voice, at least one.
    """

    metrics: tuple[Metric, ...] = METRICS

    def __init__(self, speakers: Mapping[str, Sequence[Utterance]]) -> None:
        self.profiles = {name: voice_profile(clips) for name, clips in speakers.items()}
        self.key = combined_key("signal 1", sorted(self.profiles.items()))

    def measure(self, utterance: Utterance) -> Measures:
        """Measure an utterance of one of the speakers.

        Without a voiced frame, the difference of F0 is one octave and the range has no value. The
        value of ``voice_difference`` is a rough substitute for an embedding of the voice.
        """
        profile = self.profiles[utterance.speaker]
        samples = at_16_khz(utterance)
        silent = silent_frames(samples)
        f0 = f0_semitones(samples)
        f0_difference = abs(np.median(f0) - profile.f0_semitones) if len(f0) else MAX_F0_DIFFERENCE
        ltas_difference = np.sqrt(np.square(ltas_db(samples) - profile.ltas_db).mean())
        expected_s = utterance.real_duration_s or profile.s_per_character * len(utterance.text)
        values = {
            "ended_share": utterance.ended,
            "duration_ratio": len(samples) / SAMPLE_RATE_HZ / expected_s,
            "longest_silence_s": longest_run(silent) * LEVEL_FRAME_S,
            "clipped_share": (abs(utterance.samples) >= CLIPPED).mean() if len(samples) else 0,
            "f0_difference_semitones": min(f0_difference, MAX_F0_DIFFERENCE),
            "f0_range_difference_semitones": f0_range(f0) - profile.f0_range_semitones,
            "ltas_difference_db": ltas_difference,
        }
        values["voice_difference"] = values["f0_difference_semitones"] + ltas_difference
        if utterance.codes is not None:
            num_frames = utterance.codes.shape[1]
            frames = np.arange(num_frames) * len(silent) // max(num_frames, 1)
            loud = ~silent[frames] if len(silent) else np.zeros(num_frames, dtype=bool)
            values["looped_share"] = looped_share(utterance.codes, loud)
        return Measures(values={k: float(v) for k, v in values.items() if np.isfinite(v)})


def voice_profile(recordings: Sequence[Utterance]) -> VoiceProfile:
    """Average a speaker's recordings."""
    clips = [at_16_khz(recording) for recording in recordings]
    contours = [f0 for clip in clips if len(f0 := f0_semitones(clip))]
    num_characters = sum(len(recording.text) for recording in recordings)
    return VoiceProfile(
        s_per_character=sum(map(len, clips)) / SAMPLE_RATE_HZ / max(num_characters, 1),
        f0_semitones=float(np.median([np.median(f0) for f0 in contours] or np.nan)),
        f0_range_semitones=float(np.median([f0_range(f0) for f0 in contours] or np.nan)),
        ltas_db=tuple(np.mean([ltas_db(clip) for clip in clips], axis=0).tolist()),
    )


def silent_frames(samples: Samples) -> NDArray[np.bool_]:
    """Return which frames of 20 ms are silent, ``(frames,)``."""
    length = round(SAMPLE_RATE_HZ * LEVEL_FRAME_S)
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    rms = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
    if not len(rms):
        return np.zeros(0, dtype=bool)
    loud = np.quantile(rms, 0.95)
    silent: NDArray[np.bool_] = rms < max(SILENCE_RMS, loud * 10 ** (-SILENCE_DB / 20))
    return silent


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Count the longest run of True."""
    edges = np.diff(np.pad(flags, 1).astype(np.int8))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int(lengths.max(initial=0))


def f0_semitones(samples: Samples) -> NDArray[np.float64]:
    """Compute F0 of the voiced frames, in semitones above 1 Hz."""
    contour = pitch_contour(samples, SAMPLE_RATE_HZ)
    return 12 * np.log2(contour.f0_hz[contour.voiced])


def f0_range(f0: NDArray[np.float64]) -> float:
    """Compute the range from the 10th to the 90th percentile. NaN without frames."""
    return float(np.quantile(f0, 0.9) - np.quantile(f0, 0.1)) if len(f0) else np.nan


def ltas_db(samples: Samples) -> NDArray[np.float64]:
    """Compute the long-term average spectrum in third-octave bands, ``(bands,)``, with mean 0 dB.

    Löfqvist 1986, "The long-time-average spectrum as a tool in voice research".
    """
    padded = np.pad(samples, (0, max(0, SPECTRUM_SAMPLES - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM_SAMPLES)
    spectra = np.fft.rfft(windows[:: SPECTRUM_SAMPLES // 2] * np.hanning(SPECTRUM_SAMPLES))
    power = np.square(np.abs(spectra)).mean(axis=0)
    frequency_hz = np.fft.rfftfreq(SPECTRUM_SAMPLES, 1 / SAMPLE_RATE_HZ)
    edges_hz = BAND_CENTERS_HZ[:, None] * 2 ** np.array([-1 / 6, 1 / 6])
    inside = (frequency_hz >= edges_hz[:, :1]) & (frequency_hz < edges_hz[:, 1:])
    bands = inside @ power
    relative = bands / max(bands.max(), SILENCE_RMS**4) + 10 ** (-BAND_RANGE_DB / 10)
    levels = 10 * np.log10(relative)
    above_mean: NDArray[np.float64] = levels - levels.mean()
    return above_mean

"""Metrics of synthetic signals, whose values are known."""

import numpy as np
import pytest

from fishdvc.evaluation.results import Utterance
from fishdvc.evaluation.signal import METRICS, SignalJudge, f0_range, ltas_db, silent_frames
from tests.evaluation.speech import RATE_HZ, buzz, utterance


@pytest.fixture(scope="module")
def judge() -> SignalJudge:
    return SignalJudge({"ann": [utterance(buzz(200, 1)), utterance(buzz(200, 3))]})


def measure(judge: SignalJudge, spoken: Utterance) -> dict[str, float]:
    return dict(judge.measure(spoken).values)


def test_recording_of_the_speaker_has_no_difference(judge: SignalJudge) -> None:
    values = measure(judge, utterance(buzz(200, 2), codes=np.arange(80).reshape(2, 40)))
    assert values == pytest.approx(
        {
            "ended_share": 1,
            "looped_share": 0,
            "duration_ratio": 1,
            "longest_silence_s": 0,
            "clipped_share": 0,
            "f0_difference_semitones": 0,
            "f0_range_difference_semitones": 0,
            "ltas_difference_db": 0,
            "voice_difference": 0,
        },
        abs=0.05,
    )
    assert set(values) == {metric.name for metric in METRICS}


def test_sentence_that_does_not_end_is_counted(judge: SignalJudge) -> None:
    assert measure(judge, utterance(buzz(200, 2), ended=False))["ended_share"] == 0


def test_duration_is_compared_with_the_recording_if_there_is_one(judge: SignalJudge) -> None:
    # The speaker needs 0.2 s per character.
    assert measure(judge, utterance(buzz(200, 3)))["duration_ratio"] == pytest.approx(1.5)
    spoken = utterance(buzz(200, 3), real_duration_s=6)
    assert measure(judge, spoken)["duration_ratio"] == pytest.approx(0.5)


def test_longest_silence_is_found_in_noise_of_minus_60_db(judge: SignalJudge) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-4, 4 * RATE_HZ).astype(np.float32)
    noise[: RATE_HZ // 2] += buzz(200, 0.5)
    noise[2 * RATE_HZ : 3 * RATE_HZ] += buzz(200, 1)
    values = measure(judge, utterance(noise))
    assert values["longest_silence_s"] == pytest.approx(1.5, abs=0.04)


def test_clipped_samples_are_counted(judge: SignalJudge) -> None:
    samples = buzz(200, 2)
    samples[100:420] = 1
    values = measure(judge, utterance(samples))
    assert values["clipped_share"] == pytest.approx(320 / len(samples))


@pytest.mark.parametrize(
    ("semitones", "difference"), [(3, 3), (-3, 3), (15, 12)], ids=["higher", "lower", "most"]
)
def test_another_pitch_differs_in_semitones(
    semitones: int, difference: float, judge: SignalJudge
) -> None:
    values = measure(judge, utterance(buzz(200 * 2 ** (semitones / 12), 2)))
    assert values["f0_difference_semitones"] == pytest.approx(difference, abs=0.05)


def test_each_speaker_is_compared_with_its_own_voice() -> None:
    judge = SignalJudge({"ann": [utterance(buzz(200, 1))], "bob": [utterance(buzz(250, 2))]})
    spoken = utterance(buzz(250, 2), speaker="bob")
    assert measure(judge, spoken)["f0_difference_semitones"] == pytest.approx(0, abs=0.05)
    assert measure(judge, spoken)["duration_ratio"] == pytest.approx(1)


def test_range_of_pitch_is_from_the_10th_to_the_90th_percentile() -> None:
    assert f0_range(np.arange(101.0)) == pytest.approx(80)


def test_frames_35_db_below_the_loudest_ones_are_silent() -> None:
    frames = np.full((100, RATE_HZ // 50), 0.5, np.float32)
    frames[3] *= 10 ** (-34 / 20)
    frames[7] *= 10 ** (-36 / 20)
    assert np.flatnonzero(silent_frames(frames.ravel())).tolist() == [7]


def test_wider_range_of_pitch_is_positive(judge: SignalJudge) -> None:
    both = np.concatenate([buzz(200, 1), buzz(200 * 2 ** (5 / 12), 1)])
    values = measure(judge, utterance(both))
    assert values["f0_range_difference_semitones"] == pytest.approx(5, abs=0.1)


def test_spectrum_difference_ignores_the_level_and_sees_the_tilt(judge: SignalJudge) -> None:
    soft = measure(judge, utterance(buzz(200, 2) * np.float32(0.1)))["ltas_difference_db"]
    dull = measure(judge, utterance(buzz(200, 2, tilt=1.5)))["ltas_difference_db"]
    duller = measure(judge, utterance(buzz(200, 2, tilt=2)))["ltas_difference_db"]
    assert soft == pytest.approx(0, abs=0.5)
    assert 1 < dull < duller


def test_loop_counts_only_where_the_speech_is_loud(judge: SignalJudge) -> None:
    half = np.concatenate([buzz(200, 2), np.zeros(2 * RATE_HZ, np.float32)])
    stuck = np.concatenate([np.arange(50), np.zeros(50, int)])[None]
    assert measure(judge, utterance(half, codes=stuck))["looped_share"] == 0
    values = measure(judge, utterance(half, codes=stuck[:, ::-1]))
    assert values["looped_share"] == pytest.approx(0.49)


def test_spectrum_has_mean_zero() -> None:
    assert ltas_db(buzz(200, 2)).mean() == pytest.approx(0, abs=1e-9)


def test_silence_has_the_largest_difference_of_voice(judge: SignalJudge) -> None:
    values = measure(judge, utterance(np.zeros(2 * RATE_HZ, np.float32)))
    assert values["longest_silence_s"] == pytest.approx(2)
    assert values["f0_difference_semitones"] == 12
    assert values["voice_difference"] > 15
    assert "f0_range_difference_semitones" not in values


def test_utterance_without_samples_has_values(judge: SignalJudge) -> None:
    values = measure(judge, utterance(np.zeros(0, np.float32), codes=np.zeros((2, 0), int)))
    assert values["duration_ratio"] == 0
    assert values["looped_share"] == 0
    assert values["f0_difference_semitones"] == 12


def test_key_depends_on_the_recordings(judge: SignalJudge) -> None:
    same = SignalJudge({"ann": [utterance(buzz(200, 1)), utterance(buzz(200, 3))]})
    other = SignalJudge({"ann": [utterance(buzz(201, 1)), utterance(buzz(200, 3))]})
    assert judge.key == same.key
    assert judge.key != other.key

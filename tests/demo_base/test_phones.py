from pathlib import Path

import numpy as np
import pytest
import torch

from demo_base.recipe import phone_classifier
from demo_base.recipe.equalizer import BANDS_HZ, MAX_GAIN_DB, MAX_PEAK, equalized
from demo_base.recipe.losses import soft_cross_entropy
from demo_base.recipe.phone_classifier import (
    CONTEXT_FRAMES,
    frames_right,
    in_context,
    train_classifier,
)
from demo_base.recipe.phones import (
    PHONES,
    Phone,
    frame_labels,
    means_between,
    read_phones,
    timed_phones,
    write_phones,
)


def test_marks_belong_to_their_phones_and_spaces_to_none() -> None:
    # "who are", with a pause at both ends and a symbol that is in no table.
    phones = timed_phones("_hˈuː ɑɹX.", [1, 2, 1, 3, 1, 2, 2, 1, 5, 1])
    assert phones == [
        Phone(0, 1, "_"),
        Phone(1, 3, "h"),
        Phone(3, 8, "u"),
        Phone(10, 12, "ɑ"),
        Phone(12, 13, "ɹ"),
        Phone(18, 19, "_"),
    ]


def test_phones_are_read_as_they_were_written(tmp_path: Path) -> None:
    phones = [Phone(0.0, 0.125, "_"), Phone(0.125, 1.5, "ʌ")]
    write_phones(tmp_path / "a.phones", phones)
    assert read_phones(tmp_path / "a.phones") == phones


def test_labels_are_the_shares_of_the_phones_in_each_frame() -> None:
    phones = [Phone(0.0, 0.05, "_"), Phone(0.05, 0.08, "a"), Phone(0.1, 0.9, "b")]
    labels = frame_labels(phones, 4, frame_length_s=0.04)
    expected = np.zeros((4, len(PHONES)))
    expected[:2, 0] = 1, 0.25
    expected[1, PHONES.index("a")] = 0.75
    expected[2:, PHONES.index("b")] = 0.5, 1
    np.testing.assert_allclose(labels, expected, atol=1e-6)


def test_means_between_edges_weigh_the_parts_of_rows() -> None:
    rows = np.array([[2.0, 0.0], [4.0, 1.0], [6.0, 0.0]], np.float32)
    means = means_between(rows, np.array([-0.5, 0.5, 1.5, 2.75, 3.5]))
    expected = [[1.0, 0.0], [3.0, 0.5], [(2 + 4.5) / 1.25, 0.5 / 1.25], [2.0, 0.0]]
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_shares_that_are_not_known_do_not_count_in_the_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    half = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    expected = torch.nn.functional.cross_entropy(logits[:1], torch.tensor([1]))
    torch.testing.assert_close(soft_cross_entropy(logits, half), expected)


def test_a_frame_has_its_neighbours_as_context() -> None:
    clip = np.array([[0.0], [1.0], [2.0]], np.float32)
    (frames,) = in_context([clip])
    first, last = [0] * CONTEXT_FRAMES, [2] * CONTEXT_FRAMES
    expected = [
        [*first, 0, 1, 2, *last[2:]],
        [*first[1:], 0, 1, 2, *last[1:]],
        [*first[2:], 0, 1, 2, *last],
    ]
    assert frames[..., 0].tolist() == expected


def test_only_frames_whose_phone_is_known_count_as_right_or_wrong() -> None:
    found = np.array([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4]], np.float32)
    known = np.array([[0.9, 0.1], [0.1, 0.8], [0.0, 0.0]], np.float32)
    assert frames_right(found, known).tolist() == [True, False]


def test_the_classifier_learns_phones_that_the_features_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(3, 16))

    def clip(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
        classes = rng.integers(0, 3, num_frames)
        labels = np.eye(len(PHONES), dtype=np.float32)[classes]
        return (directions[classes] * 3 + rng.normal(size=(num_frames, 16))).astype("f"), labels

    monkeypatch.setattr(phone_classifier, "HIDDEN_DIM", 32)
    features, labels = zip(*(clip(40) for _ in range(20)), strict=True)
    trained = train_classifier(list(features), list(labels), num_steps=200, seed=0)
    unheard, expected = clip(200)
    found = trained.labels(unheard)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


def test_gains_of_the_equalizer_are_those_at_its_frequencies() -> None:
    impulse = np.zeros(16000, np.float32)
    impulse[0] = 0.1
    filtered = equalized(impulse, 16000, np.random.default_rng(1))
    gains_db = 20 * np.log10(np.abs(np.fft.rfft(filtered))[list(BANDS_HZ)] / 0.1)
    expected = np.random.default_rng(1).uniform(-MAX_GAIN_DB, MAX_GAIN_DB, len(BANDS_HZ))
    np.testing.assert_allclose(gains_db, expected, atol=1e-3)


def test_the_equalizer_does_not_clip() -> None:
    tone = np.sin(np.arange(16000) * 0.4).astype(np.float32)
    peaks = [np.abs(equalized(tone, 16000, np.random.default_rng(i))).max() for i in range(20)]
    assert max(peaks) == pytest.approx(MAX_PEAK)
    assert min(peaks) < 0.9

from pathlib import Path

import numpy as np
import pytest

from demo_base.recipe import paths, speakers
from demo_base.recipe.phones import Phone, read_phones
from demo_base.recipe.speakers import Kokoro, Speech, speech_range, voice_names
from demo_base.recipe.stages import speak_held_out, synthesize
from demo_base.recipe.stages.encode import EncodeParams, codes_voices
from demo_base.recipe.stages.synthesize import Clip, SynthesizeParams, spoken_clips, write_clips
from fishdvc.audio.waveform import Waveform, read_waveform
from fishdvc.errors import AudioError, FishdvcError
from fishdvc.params import read_params

RECIPE = Path(__file__).parents[2] / "demo_base" / "recipe"
PARAMS = SynthesizeParams(
    seed=1,
    left_out_voices=("af_b",),
    held_out_voices=("bm_a", "am_a"),
    num_mixed_voices=2,
    voices_per_text=2,
    min_kokoro_speed=0.8,
    max_kokoro_speed=1.2,
    num_kokoro_texts=4,
    num_hibari_texts=8,
    hibari_speeds=(0.9, 1.0),
)
TEXTS = [f"Text {number}." for number in range(20)]


def fake_speech(text: str, voice: str, *, speed: float) -> tuple[Waveform, list[Phone]]:
    if text == "Bad.":
        raise AudioError("nothing to say")
    noise = np.random.default_rng(len(voice)).normal(0, 0.1, 8000).astype(np.float32)
    return Waveform(samples=noise, sample_rate_hz=16000), [Phone(0.0, 0.5 / speed, "h")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with files of voices, and replace the synthesizers."""
    monkeypatch.chdir(tmp_path)
    paths.KOKORO_VOICES.mkdir(parents=True)
    for name in ("af_a", "af_b", "af_c", "af_d", "am_a", "bm_a", "jf_a"):
        values = np.full((3, 256), len(name), np.float32)
        (paths.KOKORO_VOICES / f"{name}.bin").write_bytes(values.tobytes())
    monkeypatch.setattr(synthesize, "speak", fake_speech)
    return tmp_path


def test_mixed_voices_have_one_sex_and_accent_and_are_not_left_out() -> None:
    names = voice_names(paths.KOKORO_VOICES, left_out={"af_b"}, num_mixed=3, seed=0)
    assert names[:5] == ["af_a", "af_c", "af_d", "am_a", "bm_a"]
    assert sorted(names[5:]) == ["af_a+af_c", "af_a+af_d", "af_c+af_d"]


def test_missing_voices_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FishdvcError, match=r"expected Kokoro's voices; README"):
        voice_names(tmp_path, left_out=set(), num_mixed=0, seed=0)


def test_no_held_out_or_left_out_voice_speaks_a_training_text() -> None:
    clips = list(spoken_clips(TEXTS, PARAMS))

    assert len(clips) == 4 * 2 + 8
    voices = {name for clip in clips for name in clip.path.parent.name.split("+")}
    assert voices <= {"af_a", "af_c", "af_d", "hibari-90", "hibari-100"}
    assert len({clip.path for clip in clips}) == len(clips)
    speeds = {clip.speed for clip in clips[:8]}
    assert len(speeds) == 8
    assert all(0.8 <= speed <= 1.2 for speed in speeds)


def test_more_texts_leave_the_clips_of_the_others_as_they_are() -> None:
    more = PARAMS.model_copy(update={"num_kokoro_texts": 9, "num_hibari_texts": 20})
    assert set(spoken_clips(TEXTS, PARAMS)) < set(spoken_clips(TEXTS, more))


def test_only_the_held_out_voices_speak_the_held_out_sentences() -> None:
    (paths.PARAMS).write_text((RECIPE / "params.yaml").read_text())
    paths.TEXTS.mkdir()
    (paths.TEXTS / "held_out.txt").write_text("One.\nTwo.\nThree.\n")
    speak_held_out.main()

    a, b = read_params(paths.PARAMS, "synthesize", SynthesizeParams).held_out_voices
    texts = {path.parent.name: path.read_text() for path in Path().rglob("0000[12].lab")}
    assert texts == {b: "Two.", a: "Three."}
    assert not paths.SPEECH.exists()


def test_only_missing_clips_are_spoken_and_unwanted_ones_are_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoken: list[str] = []

    def speak(text: str, voice: str, *, speed: float) -> tuple[Waveform, list[Phone]]:
        spoken.append(text)
        return fake_speech(text, voice, speed=speed)

    monkeypatch.setattr(synthesize, "speak", speak)
    kept, changed, unwanted = (paths.SPEECH / "af_a" / f"{n}.flac" for n in range(3))
    write_clips(paths.SPEECH, [Clip(kept, "a"), Clip(changed, "b"), Clip(unwanted, "c")])
    write_clips(paths.SPEECH, [Clip(kept, "a"), Clip(changed, "new")])

    assert spoken == ["a", "b", "c", "new"]
    assert changed.with_suffix(".lab").read_text() == "new"
    assert {path.name for path in (paths.SPEECH / "af_a").iterdir()} == {
        *("0.flac", "0.lab", "0.phones", "1.flac", "1.lab", "1.phones")
    }


def test_the_phones_of_a_spoken_clip_are_written_beside_it() -> None:
    path = paths.SPEECH / "af_a" / "0.flac"
    write_clips(paths.SPEECH, [Clip(path, "Good.", speed=1.25)])
    assert read_phones(path.with_suffix(".phones")) == [Phone(0.0, 0.4, "h")]


def test_a_spoken_clip_without_its_phones_is_spoken_again() -> None:
    clip = Clip(paths.SPEECH / "af_a" / "0.flac", "Good.")
    write_clips(paths.SPEECH, [clip])
    clip.path.with_suffix(".phones").unlink()
    assert not clip.is_written()


def test_a_run_that_is_killed_does_not_leave_a_clip_with_the_text_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = paths.SPEECH / "af_a" / "0.flac"
    write_clips(paths.SPEECH, [Clip(path, "old")])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesize, "write_flac", killed)
    with pytest.raises(KeyboardInterrupt):
        write_clips(paths.SPEECH, [Clip(path, "new")])

    assert not Clip(path, "new").is_written()
    assert not Clip(path, "old").is_written()


def test_a_clip_that_cannot_be_spoken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = (paths.SPEECH / "af_a" / f"{n}.flac" for n in range(2))
    write_clips(paths.SPEECH, [Clip(bad, "Bad."), Clip(good, "Good.")])

    assert "2 clips, 2 new, 1 of these left out" in capsys.readouterr().out
    assert not bad.exists()
    assert good.exists()


def test_clips_have_one_loudness() -> None:
    write_clips(paths.SPEECH, [Clip(paths.SPEECH / "af_a" / "0.flac", "Good.")])
    samples = read_waveform(paths.SPEECH / "af_a" / "0.flac").samples
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.07, abs=0.03)


class FakeSession:
    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.inputs = inputs
        return [np.ones((1, 8), np.float32), np.array([[1.0, 2.0, 1.0, 4.0]])]


@pytest.fixture
def kokoro() -> Kokoro:
    spoken = Kokoro.__new__(Kokoro)
    spoken.voices, spoken.session = paths.KOKORO_VOICES, FakeSession()
    spoken.token_ids = {"a": 7, "b": 8}
    spoken.phonemes = {False: str.lower, True: str.lower}
    return spoken


def test_a_mixed_voice_has_the_mean_style_at_the_number_of_phonemes(kokoro: Kokoro) -> None:
    for name, value in (("af_a", 0.0), ("af_c", 4.0)):
        rows = np.repeat(np.arange(3, dtype=np.float32) + value, 256)
        (paths.KOKORO_VOICES / f"{name}.bin").write_bytes(rows.tobytes())
    speech = kokoro("A?B", "af_a+af_c", speed=1.2)
    assert speech.samples.shape == (8,)
    assert speech.symbols == ["_", "a", "b", "_"]
    assert speech.durations == [1.0, 2.0, 1.0, 4.0]
    inputs = kokoro.session.inputs
    assert inputs["tokens"].tolist() == [[0, 7, 8, 0]]
    assert inputs["speed"] == pytest.approx([1.2])
    assert inputs["style"].shape == (1, 256)
    assert (inputs["style"] == 3.0).all()


@pytest.mark.parametrize("text", ["?", "abab"])
def test_a_text_without_phonemes_or_with_too_many_is_an_error(kokoro: Kokoro, text: str) -> None:
    with pytest.raises(AudioError, match="1 to 3 phonemes"):
        kokoro(text, "af_a", speed=1.0)


def test_a_slower_voice_of_hibari_is_longer_and_so_are_its_phones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tone = np.zeros(48000, np.float32)
    tone[24000:] = np.sin(np.arange(24000, dtype=np.float32))
    speech = Speech(tone, ["_", "a", "ː", "_"], [1, 0.5, 0.25, 0.25])
    monkeypatch.setattr(speakers, "_hibari", lambda: lambda _text: speech)
    audio, phones = speakers.speak("a", "hibari-80", speed=1.0)

    assert audio.duration_s == pytest.approx((1 + speakers.MARGIN_S) / 0.8)
    assert [phone.symbol for phone in phones] == ["_", "a", "_"]
    times = [time for phone in phones for time in phone[:2]]
    start_s = speakers.MARGIN_S - speakers.LAG_S
    expected = [0, start_s, start_s, start_s + 0.75, start_s + 0.75, start_s + 1]
    assert times == pytest.approx([time / 0.8 for time in expected])


def test_silence_around_speech_is_cut_but_for_a_margin() -> None:
    samples = np.zeros(48000, np.float32)
    samples[12000:24000] = 0.5
    samples[24000:] = 0.0005
    margin = round(speakers.MARGIN_S * speakers.MODEL_RATE_HZ)
    assert speech_range(samples) == slice(12000 - margin, 24000 + margin)


@pytest.mark.parametrize(
    ("voice", "names"),
    [
        ("am_a+am_b", {"am_a+am_b": 1.0, "am_a+am_b@110": 1.1, "am_a+am_b@93": 0.93}),
        ("hibari-94", {"hibari-94": 1.0, "hibari-94@85": 0.85}),
        ("june-fr", {"june-fr": 1.0}),
    ],
)
def test_spoken_clips_are_encoded_at_further_speeds(voice: str, names: dict[str, float]) -> None:
    params = EncodeParams(kokoro_speeds=(1.1, 0.93), hibari_speeds=(0.85,))
    assert codes_voices(voice, "00001", params) == names


def test_each_clip_of_hibari_is_encoded_at_one_further_speed() -> None:
    params = EncodeParams(kokoro_speeds=(), hibari_speeds=(0.85, 1.15))
    further = [
        speed
        for clip in range(200)
        for speed in codes_voices("hibari-94", f"{clip:05d}", params).values()
        if speed != 1
    ]
    assert len(further) == 200
    assert 70 < further.count(0.85) < 130

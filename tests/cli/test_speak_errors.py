"""A wrong argument of `fishdvc speak` gives one line and exit code 1, and nothing is written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.cli.inputs import ADAPTER_FILES
from tests.cli.conftest import Run

Options = dict[str, list[str]]
VALID: Options = {"text": ["Hello."], "checkpoint": ["data/base"], "output": ["out/a.wav"]}
CLIP = "data/raw/ann/b.wav"
CASES: dict[str, tuple[Options, str]] = {
    "no text": ({"text": []}, "one of the arguments TEXT --text-file is required; see fishdvc spe"),
    "blank text": ({"text": [" \n"]}, "TEXT: nothing to speak in it"),
    "missing text file": (
        {"text": [], "text-file": ["no.txt"]},
        "no.txt: cannot be read: No suc",
    ),
    "text in Latin 1": (
        {"text": [], "text-file": ["latin.txt"]},
        "latin.txt: not UTF-8 (byte 2)",
    ),
    "text in UTF-16": ({"text": [], "text-file": ["wide.txt"]}, "wide.txt: contains NUL character"),
    "text of a Latin 1 terminal": ({"text": ["Gr\udcfc\udcdfe"]}, "TEXT: line 1: U+DCFC is not v"),
    "escape in the text": ({"text": ["\x1b[31mred"]}, "TEXT: line 1: U+001B is a control charac"),
    "device as text": ({"text": [], "text-file": ["/dev/zero"]}, "/dev/zero: cannot be read: exp"),
    "text of an emoji": ({"text": ["🥳"]}, "TEXT: nothing to speak in it"),
    "empty text file": ({"text": [], "text-file": ["empty.txt"]}, "empty.txt: nothing to speak"),
    "missing checkpoint": ({"checkpoint": ["data/merged"]}, "data/merged: no such folder; run dvc"),
    "incomplete model": ({"checkpoint": ["half"]}, "half: model.pth missing; run dvc repro, or "),
    "adapter as model": ({"checkpoint": ["adapter"]}, "special_tokens.json missing; run dvc repro"),
    "two codecs": ({"checkpoint": ["two"]}, "two: expected one codec, got firefly-gan-vq-fsq-8x"),
    "missing codec": ({"codec": ["no.pth"]}, "argument --codec: no.pth: no such file; see fishdvc"),
    "folder as reference": ({"reference": ["data"]}, "data: expected a file, got a folder; see f"),
    "text as codec": ({"codec": ["good.txt"]}, "good.txt: "),
    "missing adapter": ({"adapter": ["no"]}, "no: no such folder; set --adapter to a folder such"),
    "file as adapter": ({"adapter": ["good.txt"]}, "a .ckpt of fish-speech must be merged first"),
    "not an adapter": (
        {"adapter": ["data"]},
        "data: adapter_config.json, adapter_model.safetensor",
    ),
    "damaged adapter": ({"adapter": ["damaged"]}, "damaged/adapter_model.safetensors: "),
    "adapter of another base": ({"adapter": ["other"]}, "other: does not fit this base: "),
    "equal names": ({"adapter": ["adapter", "x/adapter"]}, "expected different folder names"),
    "text as reference": ({"reference": ["good.txt"], "reference-text": ["Hi."]}, "good.txt: "),
    "silent reference": ({"reference": ["silent.wav"], "reference-text": ["Hi."]}, "silent.wav: s"),
    "short reference": ({"reference": ["data/raw/ann/short.wav"]}, "0.050 s is too short for a re"),
    "no transcript": ({"reference": [CLIP]}, f"{CLIP}: no transcript b.lab beside it; add it, or "),
    "two transcripts": ({"reference": ["two.wav"]}, "two.LAB and two.lab are transcripts of one"),
    "blank words": ({"reference": [CLIP], "reference-text": [" "]}, f"text of {CLIP}: nothing to "),
    "odd words": ({"reference": [CLIP], "reference-text": ["H\x07"]}, f"{CLIP}: line 1: U+0007 is"),
    "words without clip": ({"reference-text": ["Hi."]}, "expected one for each of 0 --reference"),
    "device as params": ({"reference": [CLIP], "params": ["/dev/zero"]}, "zero: cannot be read: "),
    "missing params": ({"reference": [CLIP], "params": ["no.yaml"]}, "no.yaml: no such file"),
    "seed of letters": ({"seed": ["x"]}, "argument --seed: invalid int value: 'x'; see fishdvc"),
    "temperature 0": ({"temperature": ["0"]}, "temperature: expected a finite number above 0, got"),
    "no time": ({"max-part-s": ["0"]}, "--max-part-s: expected 0.1 to 3600, got 0.0"),
    "too much time": ({"max-part-s": ["1000"]}, "frames exceed max_seq_len = 4096; shorten"),
    "device not here": ({"device": ["cuda"]}, "does not find cuda on this machine; use "),
    "no output folder": ({"output": ["no/a.wav"]}, "no/a.wav: cannot be written: No such file or "),
    "output in a file": ({"output": ["good.txt/a.wav"]}, "a.wav: cannot be written: Not a directo"),
    "output in a system folder": ({"output": ["/proc/a.wav"]}, "/proc/a.wav: cannot be written: N"),
    "folder as output": ({"output": ["folder.wav"]}, "folder.wav: is a folder; set --output to a "),
    "output in color": ({"output": ["a\x1b[31m.wav"]}, r"a\x1b[31m.wav: not UTF-8, or contains"),
    "output in Latin 1": ({"output": ["a\udcfc.wav"]}, r"a\xfc.wav: not UTF-8, or contains contr"),
    "unknown suffix": ({"output": ["a.xyz"]}, "a.xyz: expected a file name ending in .wav, .flac"),
    "output is an input": (
        {"reference": ["out/link.wav"], "output": ["out/../data/raw/ann/a.wav"]},
        "data/raw/ann/a.wav: is also an input; choose another --output",
    ),
    "unknown option": ({"speed": ["2"]}, "unrecognized arguments: --speed=2; see fishdvc"),
}


@pytest.fixture
def files(make_adapter: Callable[..., Path], assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create the files that the cases name, on a machine without a GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for folder in ("out", "folder.wav", "half", "two", "x"):
        Path(folder).mkdir()
    for path in Path("data/base").iterdir():
        (Path("two") / path.name).symlink_to(path.resolve())
        if path.name != "model.pth":
            (Path("half") / path.name).symlink_to(path.resolve())
    Path("two/other.pth").write_bytes(b"")
    Path("out/link.wav").symlink_to(Path("data/raw/ann/a.wav").resolve())
    Path("good.txt").write_text("Hello.")
    Path("empty.txt").write_text("\n")
    Path("wide.txt").write_bytes("Hello.".encode("utf-16-le"))
    for name in ("two.wav", "two.lab", "two.LAB"):
        Path(name).touch()
    Path("latin.txt").write_bytes("Grüße".encode("latin-1"))
    soundfile.write("silent.wav", np.zeros(16_000), 16_000)
    make_adapter("adapter")
    make_adapter("other", checkpoint=assets / "text2semantic")
    shutil.copytree("adapter", "x/adapter")
    shutil.copytree("adapter", "damaged")
    Path("damaged", ADAPTER_FILES[1]).write_bytes(b"cut off")


def command_line(changes: Options) -> list[str]:
    options = VALID | changes
    text = options.pop("text")
    return [*(f"--{name}={value}" for name in options for value in options[name]), *text]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_argument_gives_one_line(run: Run, case: str) -> None:
    changes, message = CASES[case]
    before = sorted(Path().rglob("*"))
    code, out, err = run(*command_line(changes))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1, err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("files")
def test_all_bad_adapters_are_named(run: Run) -> None:
    adapters = [f"--adapter={name}" for name in ("damaged", "adapter", "other")]
    code, out, err = run("Hello.", *adapters, "-o", "a.wav")
    assert (code, out) == (1, "")
    assert err.startswith("error: cannot read damaged/adapter_model.safetensors: ")
    assert "\nother: does not fit this base: " in err
    assert not list(Path().glob("a*.wav"))


@pytest.mark.usefixtures("files")
def test_a_model_without_a_codec_needs_the_base_or_the_option(run: Run) -> None:
    for path in Path("two").glob("*.pth"):
        if path.name != "model.pth":
            path.unlink()
    Path("data/base").unlink()
    code, _, err = run("Hello.", "--checkpoint", "two", "-o", "a.wav")
    message = "no codec in two or data/base; set --codec to the file of its weights"
    assert (code, err) == (1, f"error: {message}\n")

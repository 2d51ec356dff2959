"""Wrong arguments of `fishdvc speak`: a line each, exit code 1, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fishdvc.cli.speak_request import ADAPTER_FILES
from tests.cli.conftest import Run

GOOD = {"text": ["Hello."], "checkpoint": ["data/base"], "output": ["out/a.wav"]}
CASES: dict[str, tuple[dict[str, list[str]], str]] = {
    "no text": ({"text": []}, 'a text expected, as "Hello there." or by --text-file, got neither'),
    "two texts": ({"text-file": ["good.txt"]}, "got both"),
    "empty text": ({"text": [" \n"]}, "text: nothing to be spoken in it"),
    "only an emoji": ({"text": ["\U0001f600"]}, "text: nothing to be spoken in it"),
    "no text file": ({"text": [], "text-file": ["no.txt"]}, "no.txt: a text file expected, got: "),
    "a folder of text": ({"text": [], "text-file": ["data"]}, "data: a text file expected, got: "),
    "a text of Latin 1": ({"text": [], "text-file": ["latin.txt"]}, "latin.txt: not UTF-8 (byte 2"),
    "an empty file": ({"text": [], "text-file": ["empty.txt"]}, "empty.txt: nothing to be spoken"),
    "no checkpoint": ({"checkpoint": ["data/merged"]}, "data/merged: no such folder; say by --che"),
    "no model in it": (
        {"checkpoint": ["data/raw"]},
        "data/raw: no model, config.json and model.pth and tokenizer.tiktoken and "
        "special_tokens.json missing; give a folder such as data/merged",
    ),
    "half a model": ({"checkpoint": ["half"]}, "half: no model, model.pth missing"),
    "an adapter as model": (
        {"checkpoint": ["adapter"]},
        "adapter: an adapter, no model; give it",
    ),
    "two codecs": ({"checkpoint": ["two"]}, "one codec expected, got firefly-gan-vq-fsq-8x1024"),
    "no codec file": ({"codec": ["no.pth"]}, "no.pth: no such file; say by --codec where"),
    "no codec config": ({"codec-config": ["no.json"]}, "no.json: no such file"),
    "another codec's config": (
        {"codec-config": ["data/base/config.json"]},
        "data/base/config.json",
    ),
    "no codec but a text": ({"codec": ["good.txt"]}, "good.txt: a whole PyTorch file (zip format"),
    "no adapter": ({"adapter": ["no"]}, "no: no such folder; say by --adapter where"),
    "adapter is a file": ({"adapter": ["good.txt"]}, "good.txt: an adapter's folder expected"),
    "adapter is none": (
        {"adapter": ["data"]},
        "data: no adapter, adapter_config.json and adapter_model.safetensors missing",
    ),
    "damaged adapter": (
        {"adapter": ["damaged"]},
        "damaged/adapter_model.safetensors: a safetens",
    ),
    "adapter does not fit": (
        {"adapter": ["wide"]},
        "wide: trained on another base: fast_output.weight: adapted at shape (1024, 193), the base "
        "has (1024, 192) (and 2 more)",
    ),
    "adapters of one name": ({"adapter": ["adapter", "x/adapter"]}, "folders of different names"),
    "no reference": ({"reference": ["no.wav"]}, "no.wav: no such file; --reference is a clip"),
    "no audio": ({"reference": ["good.txt"], "reference-text": ["Hi."]}, "good.txt: not readable"),
    "audio of a kind": ({"reference": ["a.m4a"], "reference-text": ["Hi."]}, "a.m4a: .m4a cannot"),
    "silence": ({"reference": ["silent.wav"], "reference-text": ["Hi."]}, "silent.wav: silence"),
    "a short reference": (
        {"reference": ["data/raw/ann/short.wav"]},
        "data/raw/ann/short.wav: 0.050 s is too short for a reference; the codec needs 0.064 s",
    ),
    "no transcript": (
        {"reference": ["data/raw/ann/b.wav"]},
        "data/raw/ann/b.wav: no transcript b.lab beside it; add it, or give its words by --refere",
    ),
    "empty words": (
        {"reference": ["data/raw/ann/b.wav"], "reference-text": [" "]},
        "--reference-text: what data/raw/ann/b.wav says expected, got nothing",
    ),
    "words without clip": (
        {"reference-text": ["Hi."]},
        "--reference-text: one for each --re",
    ),
    "no params": (
        {"reference": ["data/raw/ann/a.wav"], "params": ["no.yaml"]},
        "no.yaml: no such file",
    ),
    "seed below": ({"seed": ["-1"]}, "--seed: 0 to 9223372036854775807 expected, got -1"),
    "seed above": ({"seed": ["9223372036854775808"]}, "--seed: 0 to 9223372036854775807 expected"),
    "seed no number": ({"seed": ["x"]}, "--seed: a whole number expected, got 'x'"),
    "temperature 0": ({"temperature": ["0"]}, "--temperature: above 0 expected, got 0.0"),
    "temperature nan": ({"temperature": ["nan"]}, "--temperature: above 0 expected, got nan"),
    "top-p 2": ({"top-p": ["2"]}, "--top-p: above 0 and at most 1 expected, got 2.0"),
    "top-p x": ({"top-p": ["x"]}, "--top-p: a number expected, got 'x'"),
    "penalty 0": ({"repetition-penalty": ["0"]}, "--repetition-penalty: above 0 expected, got 0.0"),
    "no time": ({"max-part-s": ["0"]}, "--max-part-s: 0.1 to 3600 seconds expected, got 0"),
    "too much time": (
        {"max-part-s": ["1000"]},
        "tokens of prompt and 15625 frames exceed max_seq_len = 4096; shorten the reference "
        "or the text, or allow fewer frames",
    ),
    "no such device": ({"device": ["tpu"]}, "--device: auto, cpu, cuda, mps expected, got 'tpu'"),
    "device not here": (
        {"device": ["cuda"]},
        "device: cuda asked for, but PyTorch finds none",
    ),
    "no output": ({"output": []}, "no output: say by -o where to write"),
    "no output folder": ({"output": ["no/a.wav"]}, "no/a.wav: no folder no to write into; make"),
    "a folder as output": ({"output": ["folder.wav"]}, "folder.wav: a folder; give a file's name"),
    "output suffix": ({"output": ["a.xyz"]}, "a.xyz: .wav or .flac or .mp3 expected as suffix"),
    "output without": ({"output": ["out/hello"]}, "out/hello: .wav or .flac or .mp3 expected"),
    "output is a recording": (
        {"reference": ["data/raw/ann/a.wav"], "output": ["out/../data/raw/ann/a.wav"]},
        "data/raw/ann/a.wav: is read, and so not written to; give another output",
    ),
    "no player": ({"play": [""]}, "--play: no player for .wav on this machine; install one of "),
    "unknown option": ({"speed": ["2"]}, "unrecognized arguments: --speed=2; see fishdvc"),
}


@pytest.fixture
def files(make_adapter: Callable[..., Path], top: Path) -> None:
    """What the cases name."""
    for folder in ("out", "folder.wav", "half", "two", "x"):
        Path(folder).mkdir()
    for path in (top / "demo_base/checkpoint").iterdir():
        (Path("two") / path.name).symlink_to(path)
        if path.name != "model.pth":
            (Path("half") / path.name).symlink_to(path)
    Path("two/other.pth").write_bytes(b"")
    Path("good.txt").write_text("Hello.")
    Path("empty.txt").write_text("\n")
    Path("latin.txt").write_bytes("Grüße".encode("latin-1"))
    Path("a.m4a").write_bytes(b"")
    soundfile.write("silent.wav", np.zeros(16_000), 16_000)
    make_adapter("adapter")
    make_adapter("wide", wider_by=1)
    shutil.copytree("adapter", "x/adapter")
    shutil.copytree("adapter", "damaged")
    Path("damaged", ADAPTER_FILES[1]).write_bytes(b"cut off")


def command_line(changes: dict[str, list[str]]) -> list[str]:
    options = GOOD | changes
    text = options.pop("text")
    named = [f"--{name}={v}" if v else f"--{name}" for name in options for v in options[name]]
    return [*named, *text]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_argument_is_a_line(run: Run, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    changes, message = CASES[case]
    monkeypatch.setenv("PATH", "")
    before = sorted(Path().rglob("*"))
    code, out, err = run(*command_line(changes))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    # Only a damaged configuration has more to list.
    assert err.count("\n") == 1 or case == "another codec's config", err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("files")
def test_all_problems_come_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    changes = {
        "checkpoint": ["data/raw"],
        "codec": ["no.pth"],
        "adapter": ["data", "no"],
        "reference": ["no.wav", "good.txt"],
        "text": [""],
        "seed": ["x"],
        "temperature": ["-1"],
        "top-p": ["0"],
        "device": ["tpu"],
        "output": ["no/a.xyz"],
        "play": [""],
    }
    code, _, err = run(*command_line(changes))
    lines = err.splitlines()
    assert code == 1
    assert lines[0] == f"error: speak: mend these ({len(lines) - 1} problems):"
    for words in (
        "data/raw: no model",
        "no.pth: no such file",
        "data: no adapter",
        "no: no such folder",
        "no.wav: no such file",
        "good.txt: no transcript good.lab",
        "good.txt: not readable",
        "text: nothing",
        "--seed: a whole number",
        "--temperature: above 0",
        "--top-p: above 0",
        "--device: auto",
        "no/a.xyz: .wav or",
        "no/a.xyz: no folder",
        "--play: no player for .xyz",
    ):
        assert sum(words in line for line in lines) == 1, words


@pytest.mark.usefixtures("files")
def test_problems_that_only_the_codec_shows_come_together_too(run: Run) -> None:
    changes = {"adapter": ["wide"], "reference": ["data/raw/ann/short.wav"]}
    _, _, err = run(*command_line(changes))
    assert "(2 problems)" in err
    assert "short.wav: 0.050 s is too short" in err
    assert "wide: trained on another base" in err


@pytest.mark.usefixtures("files")
def test_a_checkpoint_without_codec_needs_one_from_somewhere(run: Run) -> None:
    for path in Path("two").glob("*.pth"):
        if path.name != "model.pth":
            path.unlink()
    # As on a machine that has the merged model only.
    Path("data/base").unlink()
    code, _, err = run("Hello.", "--checkpoint", "two", "-o", "a.wav")
    assert (code, err) == (
        1,
        "error: two: no codec in it, nor in data/base; say by --codec where its weights are\n",
    )

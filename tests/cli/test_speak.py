"""`fishdvc speak` says what it is asked to, into whole files."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from fishdvc.audio.loudness import integrated_loudness_lufs
from fishdvc.cli import speak as speak_module
from fishdvc.cli import synthesis
from fishdvc.cli.speak_request import DEFAULT_BASE, DEFAULT_MERGED
from fishdvc.generation import synthesizer as synthesizer_module
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import merge_adapter
from tests.cli.conftest import Run

BASE = ("--checkpoint", "data/base", "--max-part-s", "0.4")
GREEDY = ("--top-p", "1e-9")
CLIP = "data/raw/ann/a.wav"


def heard(path: str) -> npt.NDArray[np.float64]:
    samples, rate_hz = soundfile.read(path)
    assert rate_hz == 16_000
    return np.asarray(samples)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_text_becomes_a_file_and_a_line(run: Run, suffix: str) -> None:
    code, out, err = run("Hello there.", *BASE, "-o", f"hello.{suffix}")
    assert code == 0
    assert out.startswith(f"hello.{suffix}: 0.4 s of speech in ")
    assert out.endswith(" s, seed 42\n")
    assert err.splitlines() == [
        f"note: hello.{suffix}: cut off at 0.4 s without having ended; try another --seed, or a "
        "larger --max-part-s"
    ]
    assert np.abs(heard(f"hello.{suffix}")).max() > 0
    assert not list(Path().glob(".*"))


def test_a_seed_speaks_the_same_and_another_otherwise(run: Run) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("Hello there.", *BASE, "--seed", seed, "-o", f"{name}.wav")
    assert np.array_equal(heard("a.wav"), heard("b.wav"))
    assert not np.array_equal(heard("a.wav"), heard("c.wav"))


def test_a_file_is_one_text_whatever_its_lines(run: Run) -> None:
    Path("text.txt").write_text("\ufeffHello\r\nthere.\n\n", encoding="utf-8")
    run("Hello there.", *BASE, "-o", "a.wav")
    assert run("--text-file", "text.txt", *BASE, "-o", "b.wav")[0] == 0
    assert np.array_equal(heard("a.wav"), heard("b.wav"))


def test_sampling_settings_arrive(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    generate = synthesizer_module.generate

    def spy(*args: Any, **options: Any) -> Any:
        given.append((options["sampling"], options["seeds"]))
        return generate(*args, **options)

    monkeypatch.setattr(synthesizer_module, "generate", spy)
    settings = ("--temperature", "0.5", "--top-p", "0.9", "--repetition-penalty", "1.5")
    assert run("Hello.", *BASE, *settings, "--seed", "7", "-o", "a.wav")[0] == 0
    ((sampling, seeds),) = given
    assert vars(sampling) == {"temperature": 0.5, "top_p": 0.9, "repetition_penalty": 1.5}
    assert seeds == [7]


def test_references_come_at_the_loudness_of_training_with_their_words(
    run: Run, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[tuple[float, str]] = []
    encode = synthesizer_module.Synthesizer.encode_reference

    def spy(self: Any, samples: torch.Tensor, rate_hz: int, text: str) -> Any:
        encoded.append((integrated_loudness_lufs(samples.numpy(), rate_hz), text))
        return encode(self, samples, rate_hz, text)

    monkeypatch.setattr(synthesizer_module.Synthesizer, "encode_reference", spy)
    make_clip(Path("quiet.wav"), seconds=1.0, peak=0.01, rate_hz=24_000, text="<um> Quiet\nwords. ")
    both = ("--reference", CLIP, "--reference", "quiet.wav")
    assert run("Hello.", *BASE, *both, "-o", "a.wav")[0] == 0
    assert [text for _, text in encoded] == ["Hello there.", "Quiet words."]
    assert [loudness for loudness, _ in encoded] == pytest.approx([-23, -23], abs=0.1)

    encoded.clear()
    words = ("--reference-text", "First.", "--reference-text", "Second.")
    assert run("Hello.", *BASE, *both, *words, "-o", "b.wav")[0] == 0
    assert [text for _, text in encoded] == ["First.", "Second."]
    run("Hello.", *BASE, "-o", "without.wav")
    assert not np.array_equal(heard("a.wav"), heard("without.wav"))
    assert not np.array_equal(heard("a.wav"), heard("b.wav"))


def test_an_adapter_over_the_base_speaks_as_the_merged_model(
    run: Run,
    make_adapter: Callable[..., Path],
    base_weights: dict[str, torch.Tensor],
    top: Path,
) -> None:
    adapter = make_adapter("data/lora/step_000000010")
    merged = Path("data/merged")
    merged.mkdir()
    for path in (top / "demo_base/checkpoint").iterdir():
        # The codec is found in the base.
        if path.name != "model.pth" and "generator" not in path.name:
            (merged / path.name).symlink_to(path)
    torch.save(merge_adapter(base_weights, read_adapter(adapter)), merged / "model.pth")

    short = ("--max-part-s", "0.7", *GREEDY)
    assert run("Hello.", *short, "--adapter", str(adapter), "-o", "adapted.wav")[0] == 0
    assert run("Hello.", *short, "-o", "merged.wav")[0] == 0
    assert run("Hello.", *short, "--checkpoint", "data/base", "-o", "base.wav")[0] == 0
    assert np.array_equal(heard("adapted.wav"), heard("merged.wav"))
    assert not np.array_equal(heard("adapted.wav"), heard("base.wav"))
    twice = run(
        "Hello.",
        *BASE[2:],
        "--checkpoint",
        "data/merged",
        "--adapter",
        str(adapter),
        "-o",
        "twice.wav",
    )
    assert twice[0] == 0
    assert "note: data/merged has an adapter in it already" in twice[2]


def test_several_adapters_share_one_base_and_write_a_file_each(
    run: Run, make_adapter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []
    load = synthesis.load_dual_ar

    def spy(folder: Path, **options: Any) -> Any:
        loads.append(folder)
        return load(folder, **options)

    monkeypatch.setattr(synthesis, "load_dual_ar", spy)
    first, second = make_adapter("x/step_1", 1), make_adapter("x/step_2", 2)
    adapters = ("--adapter", str(first), "--adapter", f"{second}/")
    code, out, _ = run("Hello.", *BASE[2:], *adapters, "-o", "hello.wav")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "hello.step_1.wav",
        "hello.step_2.wav",
    ]
    assert loads == [DEFAULT_BASE]
    run("Hello.", *BASE[2:], *adapters[2:], "-o", "alone.wav")
    assert np.array_equal(heard("alone.wav"), heard("hello.step_2.wav"))
    assert not np.array_equal(heard("alone.wav"), heard("hello.step_1.wav"))
    assert not Path("hello.wav").exists()


def test_the_output_is_replaced_whole_or_left_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.wav").write_bytes(b"old")

    def fail(path: Path, *_: Any, **__: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(speak_module, "write_for_listening", fail)
        code, _, err = run("Hello.", *BASE, "-o", "a.wav")
    assert code == 1
    assert err.endswith("error: a.wav: cannot be written: No space left on device\n")
    assert Path("a.wav").read_bytes() == b"old"
    assert not list(Path().glob(".*"))
    assert run("Hello.", *BASE, "-o", "a.wav")[0] == 0
    assert len(heard("a.wav"))


def test_ctrl_c_ends_without_a_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesizer_module, "generate", interrupt)
    assert run("Hello.", *BASE, "-o", "a.wav") == (130, "", "")
    assert not Path("a.wav").exists()


def test_a_model_that_says_nothing_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> list[torch.Tensor]:
        return [torch.empty(8, 0, dtype=torch.int64)]

    monkeypatch.setattr(synthesizer_module, "generate", nothing)
    code, _, err = run("Hello.", *BASE, "-o", "a.wav")
    assert code == 1
    assert err == (
        "error: a.wav: not written, the model ended before it said anything; "
        "try another --seed, or a --reference\n"
    )


def test_progress_is_shown_on_a_terminal_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(synthesizer_module, "MAX_PART_CHARACTERS", 8)
    monkeypatch.setattr(synthesis, "MAX_PART_CHARACTERS", 8)
    arguments = ("One two. Three.", *BASE, "-o", "a.wav")
    assert "part" not in run(*arguments)[2].replace("--max-part-s", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(*arguments)[0] == 0
    assert re.search(r"a\.wav, part 2 of 2: \d+ frames", terminal.getvalue())


def test_a_small_model_keeps_to_one_thread_and_a_large_one_does_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    run("Hello.", *BASE, "-o", "a.wav")
    assert asked == [1]
    monkeypatch.setattr(synthesis, "MIN_DIM_FOR_THREADS", 192)
    run("Hello.", *BASE, "-o", "a.wav")
    assert asked == [1]


def test_default_folders_are_those_of_the_pipeline(top: Path) -> None:
    graph = (top / "dvc.yaml").read_text()
    assert f"base: {DEFAULT_BASE}\n" in graph
    assert f"merged: {DEFAULT_MERGED}\n" in graph


@pytest.mark.parametrize("arguments", [["--help"], ["speak", "--help"], ["speak", "Hello."]])
def test_help_and_mistakes_do_not_wait_for_torch(
    arguments: list[str], top: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom fishdvc.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'scipy', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(top)},
        check=True,
        capture_output=True,
    )


@pytest.mark.usefixtures("project")
def test_the_package_is_the_command(top: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fishdvc", "speak", "Hello.", *BASE, "-o", "a.wav"],
        env=os.environ | {"PYTHONPATH": str(top)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("a.wav: 0.4 s of speech in ")
    assert len(ended.stderr.splitlines()) == 1
    assert len(heard("a.wav"))

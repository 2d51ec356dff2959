"""`fishdvc speak` writes the speech that its arguments ask for."""

import os
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
from fishdvc.cli import synthesis
from fishdvc.cli.speak import DEFAULT_BASE, DEFAULT_MERGED
from fishdvc.generation import loading
from fishdvc.generation import synthesizer as synthesizer_module
from fishdvc.generation.generate import Generator
from fishdvc.lora.files import read_adapter
from fishdvc.lora.merge import merge_adapter
from fishdvc.model.checkpoint import load_weights
from tests.cli.conftest import Run

SHORT = ("--max-part-s", "0.4")
CPU = ("--device", "cpu")
BASE = ("--checkpoint", "data/base", *SHORT)


def samples_of(path: str) -> npt.NDArray[np.float64]:
    samples, rate_hz = soundfile.read(path)
    assert rate_hz == 16_000
    return np.asarray(samples)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Record the arguments of a function that is called as before."""

    def record(owner: Any, name: str) -> list[Any]:
        calls: list[Any] = []
        original = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            calls.append((args, options))
            return original(*args, **options)

        monkeypatch.setattr(owner, name, call)
        return calls

    return record


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_text_gives_a_file_a_line_and_a_note_if_it_was_cut_off(run: Run, suffix: str) -> None:
    code, out, err = run("Hello there.", *BASE, "-o", f"hello.{suffix}")
    assert code == 0
    assert out.startswith(f"hello.{suffix}: 0.4 s of speech in ")
    assert out.endswith(" s, seed 42\n")
    assert err == (
        f"note: hello.{suffix}: cut off at 0.4 s; try another --seed, or a larger --max-part-s\n"
    )
    assert np.abs(samples_of(f"hello.{suffix}")).max() > 0
    assert not list(Path().glob(".*"))


def test_the_same_seed_gives_the_same_speech(run: Run) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("Hello there.", *BASE, "--seed", seed, "-o", f"{name}.wav")
    assert np.array_equal(samples_of("a.wav"), samples_of("b.wav"))
    assert not np.array_equal(samples_of("a.wav"), samples_of("c.wav"))


def test_line_ends_of_a_text_file_count_as_spaces(run: Run) -> None:
    Path("text.txt").write_text("\ufeffHello\r\nthere.\n\n", encoding="utf-8")
    run("Hello there.", *BASE, "-o", "a.wav")
    assert run("--text-file", "text.txt", *BASE, "-o", "b.wav")[0] == 0
    assert np.array_equal(samples_of("a.wav"), samples_of("b.wav"))


def test_sampling_options_reach_the_model(run: Run, spy: Callable[..., list[Any]]) -> None:
    made, calls = spy(synthesizer_module, "Generator"), spy(Generator, "generate")
    options = ("--temperature", "0.5", "--top-p", "0.9", "--repetition-penalty", "1.5")
    assert run("Hello.", *BASE, *options, "--seed", "7", "-o", "a.wav")[0] == 0
    ((_, given),) = made
    assert vars(given["sampling"]) == {"temperature": 0.5, "top_p": 0.9, "repetition_penalty": 1.5}
    assert [options["seeds"] for _, options in calls] == [[7]]


def test_references_have_the_loudness_of_training_and_their_texts(
    run: Run, make_clip: Callable[..., Path], spy: Callable[..., list[Any]]
) -> None:
    calls = spy(synthesizer_module.Synthesizer, "encode_reference")
    make_clip(Path("quiet.wav"), seconds=1.0, peak=0.01, rate_hz=24_000, text="<um> Quiet\nwords. ")
    both = ("--reference", "data/raw/ann/a.wav", "--reference", "quiet.wav")
    assert run("Hello.", *BASE, *both, "-o", "a.wav")[0] == 0
    assert [text for (_, _, _, text), _ in calls] == ["Hello there.", "Quiet words."]
    loudness = [integrated_loudness_lufs(args[1].numpy(), args[2]) for args, _ in calls]
    assert loudness == pytest.approx([-23, -23], abs=0.1)

    calls.clear()
    texts = ("--reference-text", "First.", "--reference-text", "Second.")
    assert run("Hello.", *BASE, *both, *texts, "-o", "b.wav")[0] == 0
    assert [text for (_, _, _, text), _ in calls] == ["First.", "Second."]
    run("Hello.", *BASE, "-o", "without.wav")
    assert not np.array_equal(samples_of("a.wav"), samples_of("without.wav"))
    assert not np.array_equal(samples_of("a.wav"), samples_of("b.wav"))


def test_an_adapter_gives_the_speech_of_the_merged_model(
    run: Run, make_adapter: Callable[..., Path]
) -> None:
    adapter = make_adapter("data/lora/step_000000010")
    merged = Path("data/merged")
    merged.mkdir()
    for path in Path("data/base").iterdir():
        # Without a codec: it is found in the base.
        if path.name != "model.pth" and "generator" not in path.name:
            (merged / path.name).symlink_to(path.resolve())
    weights = {key: weight.float() for key, weight in load_weights("data/base/model.pth").items()}
    torch.save(merge_adapter(weights, read_adapter(adapter)), merged / "model.pth")

    greedy = ("Hello.", "--max-part-s", "0.7", "--top-p", "1e-9")
    assert run(*greedy, "--adapter", str(adapter), "-o", "adapted.wav")[0] == 0
    assert run(*greedy, "-o", "merged.wav")[0] == 0
    assert run(*greedy, "--checkpoint", "data/base", "-o", "base.wav")[0] == 0
    assert np.array_equal(samples_of("adapted.wav"), samples_of("merged.wav"))
    assert not np.array_equal(samples_of("adapted.wav"), samples_of("base.wav"))

    twice = ("--checkpoint", "data/merged", "--adapter", str(adapter), "-o", "twice.wav")
    code, _, err = run("Hello.", *SHORT, *twice)
    assert code == 0
    assert err.startswith("note: data/merged already contains an adapter, and --adapter adds")


def test_several_adapters_share_one_base_and_write_a_file_each(
    run: Run, make_adapter: Callable[..., Path], spy: Callable[..., list[Any]]
) -> None:
    loads = spy(loading, "load_dual_ar")
    first, second = make_adapter("x/step_1", 1), make_adapter("x/step_2", 2)
    adapters = ("--adapter", str(first), "--adapter", f"{second}/")
    code, out, _ = run("Hello.", *SHORT, *adapters, "-o", "hello.wav")
    assert code == 0
    outputs = [line.split(":")[0] for line in out.splitlines()]
    assert outputs == ["hello.step_1.wav", "hello.step_2.wav"]
    assert [args for args, _ in loads] == [(DEFAULT_BASE,)]
    run("Hello.", *SHORT, *adapters[2:], "-o", "alone.wav")
    assert np.array_equal(samples_of("alone.wav"), samples_of("hello.step_2.wav"))
    assert not np.array_equal(samples_of("alone.wav"), samples_of("hello.step_1.wav"))
    assert not Path("hello.wav").exists()


def test_the_output_is_replaced_atomically(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.wav").write_bytes(b"old")

    def fail(path: Path, *_: Any, **__: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(synthesis, "write_speech", fail)
        code, _, err = run("Hello.", *BASE, "-o", "a.wav")
    assert (code, err) == (1, "error: a.wav: cannot be written: No space left on device\n")
    assert Path("a.wav").read_bytes() == b"old"
    assert not list(Path().glob(".*"))
    assert run("Hello.", *BASE, "-o", "a.wav")[0] == 0
    assert len(samples_of("a.wav"))


def test_an_output_that_is_a_link_to_itself_is_replaced(run: Run) -> None:
    Path("a.wav").symlink_to("a.wav")
    assert run("Hello.", *BASE, "-o", "a.wav")[0] == 0
    assert not Path("a.wav").is_symlink()
    assert len(samples_of("a.wav"))


def test_ctrl_c_ends_in_one_line_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Generator, "generate", interrupt)
    assert run("Hello.", *BASE, "-o", "a.wav") == (130, "", "stopped by SIGINT\n")
    assert not Path("a.wav").exists()


def test_a_model_that_gives_no_speech_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> list[torch.Tensor]:
        return [torch.empty(8, 0, dtype=torch.int64)]

    monkeypatch.setattr(Generator, "generate", nothing)
    assert run("Hello.", *BASE, "-o", "a.wav") == (
        1,
        "",
        "error: a.wav: not written, because the model gave no speech; try another --seed, or a "
        "--reference\n",
    )
    assert not Path("a.wav").exists()


def test_only_small_models_are_limited_to_one_thread(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    run("Hello.", *BASE, "-o", "a.wav")
    monkeypatch.setattr(loading, "MIN_DIM_FOR_THREADS", 192)
    run("Hello.", *BASE, "-o", "a.wav")
    assert numbers == [1]


def test_default_folders_are_those_of_the_pipeline(top: Path) -> None:
    graph = (top / "dvc.yaml").read_text()
    assert f"base: {DEFAULT_BASE}\n" in graph
    assert f"merged: {DEFAULT_MERGED}\n" in graph


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["speak", "--help"], {"torch", "scipy", "numpy", "soundfile", "pydantic"}),
        (["speak", "Hello.", "-o", "a.wav"], {"torch", "scipy"}),
    ],
)
def test_help_and_errors_import_no_more_than_they_need(
    arguments: list[str], unneeded: set[str], top: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom fishdvc.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"assert not {unneeded} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(top)},
        check=True,
        capture_output=True,
    )


@pytest.mark.usefixtures("project")
def test_the_package_runs_as_a_module(top: Path) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "fishdvc",
            "speak",
            "Thank you for calling.",
            *CPU,
            *BASE,
            "-o",
            "a.wav",
        ],
        env=os.environ | {"PYTHONPATH": str(top)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("a.wav: 0.4 s of speech in ")
    # The note, and no warning of a library.
    assert len(ended.stderr.splitlines()) == 1

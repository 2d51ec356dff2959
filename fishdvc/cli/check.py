"""The command ``fishdvc check``: look at params.yaml, the data, the base and the machine."""

import argparse
from pathlib import Path
from typing import Any

from fishdvc.errors import FishdvcError, printable_lines

BASE = Path("data/base")
MAX_FILES = 5


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its options to the parser of ``fishdvc``."""
    parser = commands.add_parser(
        "check",
        help="check the data and the machine before training",
        description="Check params.yaml, the recordings and transcripts, the base model and this "
        "machine. Nothing is changed. The exit code is 1 if the run would certainly fail.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=check)
    params = "parameters of the run (default: %(default)s)"
    parser.add_argument("--params", type=Path, default="params.yaml", help=params)
    full = f"also print histograms, and all files of a warning instead of {MAX_FILES}"
    parser.add_argument("--full", action="store_true", help=full)


def check(arguments: argparse.Namespace) -> None:
    """Print what was found, and a last line that says whether the run can start.

    Raises:
        FishdvcError: The run would certainly fail.
    """
    # Import late, so that --help is fast.
    from fishdvc.cli import readiness
    from fishdvc.cli.params import read_all_params
    from fishdvc.corpus.numbers import counted
    from fishdvc.corpus.report_text import format_report, one_line
    from fishdvc.pipeline.check import report_on_data
    from fishdvc.text.tokenizer import load_tokenizer

    params = read_all_params(arguments.params)
    base = readiness.check_base(params, BASE)
    lines = [base.line, readiness.check_packages()]
    num_warnings, speech_s = 0, 0.0
    try:
        report = report_on_data(
            params.dataset,
            params.check,
            params.normalize,
            max_length=params.train_lora.max_length,
            workers=params.machine.workers,
            tokenizer=load_tokenizer(base.folder) if base.folder else None,
        )
    except FishdvcError as error:
        lines.append(readiness.Line("data", str(error), "error"))
    else:
        max_files = None if arguments.full else MAX_FILES
        print(
            printable_lines(format_report(report, histograms=arguments.full, max_files=max_files))
        )
        num_warnings += len(report.warnings)
        speech_s = sum(speaker.duration_s for speaker in report.speakers)
        counts = {warning.kind: len(warning.files) for warning in report.warnings}
        num_clips = sum(speaker.num_clips for speaker in report.speakers)
        stops = "unusable" in counts and params.dataset.on_bad_clip == "fail"
        level: readiness.Level = "error" if stops else "ok"
        text = one_line(report)
        if num_clips - counts.get("too_long", 0) < 2:
            level, text = "error", f"{text}; training needs at least 2 clips within max_length"
        lines.append(readiness.Line("data", text, level))
    lines += readiness.check_machine(params, base, speech_s)
    for line in lines:
        mark = "" if line.level == "ok" else f"{line.level}: "
        print(printable_lines(f"{line.label:8}  {mark}{line.text}"))
    if errors := [line.label for line in lines if line.level == "error"]:
        raise FishdvcError(f"the run would fail; correct: {', '.join(errors)}")
    num_warnings += sum(line.level == "warning" for line in lines)
    print(counted(num_warnings, "warning") if num_warnings else "ready")

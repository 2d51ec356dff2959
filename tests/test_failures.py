"""A failure that is not a bug is one message and an exit code."""

import errno
import os
import signal
from pathlib import Path

import pytest

from fishdvc.errors import DatasetError
from fishdvc.failures import run_program


def fail(error: BaseException) -> tuple[str, int]:
    def program() -> None:
        raise error

    return run_program(program)


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DatasetError("a: b; c"), "a: b; c"),
        (os_error(errno.ENOSPC), "No space left on device; free space on this disk and run the "),
        (os_error(errno.EACCES, "data/a.wav"), "data/a.wav: Permission denied; change its permis"),
        (os_error(errno.ENOTDIR, "data/codes"), "data/codes: Not a directory; expected a folder; "),
        (OSError("odd"), "odd; correct this and run the command again"),
        (MemoryError(), "not enough memory; close other programs"),
    ],
)
def test_an_error_says_what_to_do(error: Exception, message: str) -> None:
    printed, exit_code = fail(error)
    assert exit_code == 1
    assert printed.startswith(f"error: {message}")
    assert "\n" not in printed


def test_success_prints_nothing() -> None:
    assert run_program(lambda: None) == ("", 0)


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_runs_cleanup_and_gives_its_exit_code(
    number: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    before = signal.getsignal(number)

    def program() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            (tmp_path / "cleaned up").touch()

    assert run_program(program) == (f"stopped by {number.name}", exit_code)
    assert (tmp_path / "cleaned up").exists()
    assert signal.getsignal(number) == before


def test_a_library_that_exits_after_a_signal_does_not_change_the_exit_code() -> None:
    def program() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemExit(1) from None

    assert run_program(program) == ("stopped by SIGINT", 130)


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(2)])
def test_a_bug_keeps_its_traceback_and_another_exit_its_code(error: BaseException) -> None:
    with pytest.raises(type(error)):
        fail(error)


def test_control_characters_of_names_are_escaped_but_not_the_line_ends_of_lists() -> None:
    error = DatasetError("2 problems:\n  a\x1b[2J.wav: bad\n  b\r: bad")
    assert fail(error)[0] == "error: 2 problems:\n  a\\x1b[2J.wav: bad\n  b\\r: bad"

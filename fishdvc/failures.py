"""Convert failures of a program that are not bugs into one message and an exit code."""

import errno
import signal
from collections.abc import Callable
from types import FrameType

from fishdvc.errors import FishdvcError, printable_lines

SIGNAL_EXIT_CODE = 128
"""Exit code of shells for a program that a signal stopped, plus the number of the signal."""
TODO = {
    errno.ENOSPC: "free space on this disk and run the command again",
    errno.EDQUOT: "free space in your quota and run the command again",
    errno.EACCES: "change its permissions and run the command again",
    errno.EPERM: "change its permissions and run the command again",
    errno.EROFS: "make this file system writable and run the command again",
    errno.ENOENT: "create it, or correct the path",
    errno.ENOTDIR: "expected a folder; move the file away",
    errno.EISDIR: "expected a file; move the folder away",
    errno.EMFILE: "allow more open files with `ulimit -n`",
    errno.EIO: "the disk may be damaged; copy your data to another one",
}


class _Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that cleanup runs but nothing else catches it."""


def run_program(program: Callable[[], None]) -> tuple[str, int]:
    """Run a program.

    SIGTERM raises an exception in the program, so that it deletes its temporary files.

    Returns:
        A message, empty after success, and the exit code: 0, 1 for an error, or 128 plus the number
        of a signal, for example 130 for Ctrl-C.
    """
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else _Terminated

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        program()
    except (FishdvcError, OSError, MemoryError) as error:
        return printable_lines(f"error: {_message(error)}"), 1
    except RuntimeError as error:
        # PyTorch, not imported here, has an OutOfMemoryError; for a CPU it raises RuntimeError.
        if type(error).__name__ != "OutOfMemoryError" and "DefaultCPUAllocator" not in str(error):
            raise
        return f"error: {_message(MemoryError())}", 1
    except (KeyboardInterrupt, _Terminated):
        number = received[0] if received else signal.SIGINT
        return f"stopped by {signal.Signals(number).name}", SIGNAL_EXIT_CODE + number
    except SystemExit:
        # Lightning ends the process itself after Ctrl-C.
        if not received:
            raise
        return f"stopped by {signal.Signals(received[0]).name}", SIGNAL_EXIT_CODE + received[0]
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return "", 0


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or set machine.workers to a smaller number"
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    todo = TODO.get(error.errno or 0, "correct this and run the command again")
    return f"{where}{error.strerror or error}; {todo}"

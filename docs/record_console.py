"""Record the console blocks of experiments.md and remotes.md: ``python -m docs.record_console``.

A page's path as argument: that page alone.

Makes the tests' small project, runs its pipeline, and gives each page a copy of it, in which the
page's ``$`` lines are run by bash in their order. What they print, all of it, becomes the rest of
the block; of more than three warnings in a row about outputs the first only, and ``...``. Servers
are real ones on loopback. What a reader has elsewhere has other names here:
``Recording.elsewhere`` lists them, and they are exchanged in commands and in outputs.

After ``dvc queue start`` and ``stop`` the recording waits until it is done.
"""

import hashlib
import itertools
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import S3_USER, s3_server, ssh_server
from tests.small_project import PATIENCE_S, Project, make_project

PAGES = (Path("docs/experiments.md"), Path("docs/remotes.md"))
REPOSITORY = "https://git.example.org/voices.git"
MAX_WARNINGS = 3
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)
SEAL = re.compile(r"^<!-- recorded by .* -->$", re.MULTILINE)


def blocks(page: str) -> list[str]:
    """List what stands in the console blocks of a page."""
    return BLOCK.findall(page)


def commands(block: str) -> list[str]:
    """List the commands of a block: each line behind ``$``, with those it continues on."""
    return re.findall(r"^\$ ((?:.*\\\n)*.*)", block, re.MULTILINE)


def seal(page: str) -> str:
    """Write the line that tells later whether a block was changed by hand."""
    checksum = hashlib.sha256("\f".join(blocks(page)).encode()).hexdigest()[:16]
    return f"<!-- recorded by `python -m docs.record_console`, checksum {checksum} -->"


@dataclass
class Recording:
    """A terminal in which one page's commands are run.

    Attributes:
        project: Whose environment is used.
        folder: The current folder.
        elsewhere: What the page calls a thing, and what it is here.
    """

    project: Project
    folder: Path
    elsewhere: Mapping[str, str]

    def run(self, command: str) -> str:
        """Run a command that must succeed; return what it printed, in the page's words."""
        script = command
        for page_name, name in self.elsewhere.items():
            script = script.replace(page_name, name)
        # Into a file: workers of the queue, which stay, would keep a pipe open.
        with tempfile.NamedTemporaryFile("w+") as output, tempfile.NamedTemporaryFile() as left_in:
            left = shlex.quote(left_in.name)
            result = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", f"{script}\npwd > {left}"],
                cwd=self.folder,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=PATIENCE_S,
            )
            printed = Path(output.name).read_text(encoding="utf-8")
            if result.returncode:
                sys.exit(f"$ {command}\n{printed}\nexit code {result.returncode}")
            self.folder = Path(Path(left_in.name).read_text().strip())
        if command.startswith("dvc queue start"):
            self.project.wait_for_queue()
        elif command.startswith("dvc queue stop"):
            self.project.wait_for_workers()
        for page_name, name in self.elsewhere.items():
            printed = printed.replace(name, page_name)
        return printed

    def record(self, page: str) -> str:
        """Run every block of a page and put what was printed into it."""

        def rerun(match: re.Match[str]) -> str:
            lines = []
            for command in commands(match[1]):
                print(f"$ {command}", flush=True)
                lines += [f"$ {command}", *tidy(self.run(command))]
            return "".join(f"{line}\n" for line in lines)

        page = BLOCK.sub(rerun, page)
        return SEAL.sub(seal(page), page)


def tidy(printed: str) -> list[str]:
    """Split into lines: no blank lines around them, of many warnings in a row the first."""
    blank_lines_around = r"\A(?:[ \t]*\n)+|\s+\Z"
    lines = [line.rstrip() for line in re.sub(blank_lines_around, "", printed).splitlines()]
    shown: list[str] = []
    for warns, group in itertools.groupby(lines, lambda line: line.startswith("WARNING: Output")):
        few = list(group)
        shown += [few[0], "..."] if warns and len(few) > MAX_WARNINGS else few
    return shown


@contextmanager
def recordings(pages: Sequence[Path]) -> Iterator[Iterator[Recording]]:
    """Make a finished project and servers; give a terminal in a copy of it for each page."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = make_project(work / "finished", work / "home")
        project.run("dvc", "repro")
        project.commit("First voice")
        stack.enter_context(ssh_server(work / "sshd", project.home))
        s3 = stack.enter_context(s3_server(work / "s3.log"))

        def one_for_each_page() -> Iterator[Recording]:
            for page in pages:
                here = project.copy(work / page.stem / "fishdvc")
                here.environment |= S3_USER
                # Git finds this repository where the page says that it is.
                (project.home / ".gitconfig").write_text(
                    f'[url "{here.folder}"]\n    insteadOf = {REPOSITORY}\n'
                )
                elsewhere = {
                    "/mnt/backup": str(work / "backup"),
                    "/srv/fishdvc": str(work / "srv"),
                    "https://s3.example.org": s3,
                    "/home/ann": str(work / page.stem),
                }
                yield Recording(here, here.folder, elsewhere)
                here.run("dvc", "queue", "stop", "--kill")

        yield one_for_each_page()


def main(pages: Sequence[Path]) -> None:
    """Record pages, each whole."""
    with recordings(pages) as terminals:
        for page, terminal in zip(pages, terminals, strict=True):
            page.write_text(terminal.record(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main([Path(page) for page in sys.argv[1:]] or PAGES)

"""List the files of a dataset folder. Each file is returned, reported, or ignored by a rule."""

import re
import stat
import unicodedata
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from fishdvc.corpus.names import name_problem
from fishdvc.errors import printable
from fishdvc.storage.lfs import pointer_problem

_IGNORED = re.compile(r"\._.*|\.DS_Store|Thumbs\.db|desktop\.ini|\.git(ignore|keep)|.+\.dvc", re.I)
"""Files of macOS, Windows, Git and DVC, which belong to no clip."""


@dataclass
class Listing:
    """Files below a folder.

    Attributes:
        files: Files by their path below the folder, in Unicode NFC and with forward slashes.
            Several files have the same path if they differ only in their Unicode form.
        problems: One line per file or folder that cannot be read, printed or followed.
        notes: One line per hidden file or folder, and per linked folder.
    """

    files: list[tuple[str, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_files(root: Path) -> Listing:
    """List all files below a folder.

    Links are followed. A linked folder is searched after all other folders, and only if that lists
    no file twice.

    Args:
        root: An existing folder.
    """
    listing = Listing()
    folders, links = deque([(root, "")]), deque[tuple[Path, str]]()
    searched = set[Path]()
    while folders or links:
        is_link = not folders
        folder, prefix = links.popleft() if is_link else folders.popleft()
        target = folder.resolve()
        # `searched` also holds the parents of each folder.
        if is_link and target in searched:
            listing.problems.append(
                f"{folder}: a link to {printable(str(target))}, which is searched already, or "
                "contains a folder that is; remove one of them"
            )
            continue
        if is_link:
            listing.notes.append(
                f"{folder}: a link to a folder, in which DVC sees no changes; after a change run "
                "dvc repro -f normalize && dvc repro"
            )
        searched.update((target, *target.parents))
        try:
            # Fails if the folder can be listed, but not its files opened.
            (folder / "..").stat()
            paths = sorted(folder.iterdir(), key=lambda path: path.name)
        except OSError as error:
            listing.problems.append(_unreadable(folder, error))
            continue
        for path in paths:
            if _IGNORED.fullmatch(path.name):
                continue
            name = prefix + unicodedata.normalize("NFC", path.name)
            if problem := name_problem(path):
                listing.problems.append(problem)
            elif path.name.startswith("."):
                listing.notes.append(f"{path}: not used, because it is hidden")
            else:
                _add(path, name, listing, folders, links)
    return listing


def _add(
    path: Path,
    name: str,
    listing: Listing,
    folders: deque[tuple[Path, str]],
    links: deque[tuple[Path, str]],
) -> None:
    """Add a file to the listing, or a folder to those to search."""
    try:
        mode, is_link = path.stat().st_mode, path.is_symlink()
    except OSError as error:
        listing.problems.append(_unreadable(path, error))
        return
    if stat.S_ISDIR(mode):
        (links if is_link else folders).append((path, f"{name}/"))
    elif stat.S_ISREG(mode):
        listing.files.append((name, path))
    else:
        listing.problems.append(f"{path}: neither a file nor a folder; remove it")


def _unreadable(path: Path, error: OSError) -> str:
    try:
        link = path.readlink()
    except OSError:
        return f"{path}: {error.strerror}; correct its permissions, or remove it"
    if problem := pointer_problem(bytes(link)):
        return f"{path}: {problem}"
    target = printable(str(link))
    return f"{path}: a link to {target}: {error.strerror}; correct or remove the link"

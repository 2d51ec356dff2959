"""Read one section of params.yaml."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    ScalarEvent,
)

from fishdvc.errors import ParamsError
from fishdvc.storage.small_files import read_small_file
from fishdvc.validation import CheckedT, did_you_mean, parse, shown

MAX_BYTES = 50_000
MAX_NODES = 5_000
"""Maximum number of keys and values. An alias counts as what it stands for."""
MAX_DEPTH = 50


def load_yaml(path: Path) -> Any:
    """Read a YAML file with DVC's own parser, so that both read every number alike.

    It implements YAML 1.2: ``1e-4`` is a number and ``off`` is a string.

    Raises:
        ParamsError: The file is missing, is not valid YAML or is too large.
    """
    try:
        text = read_small_file(path, max_bytes=MAX_BYTES).decode()
        _check_size(text)
        return YAML(typ="safe").load(text)
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the project's top folder") from None
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, YAMLError) as error:
        raise ParamsError(f"{path}: cannot be read as YAML: {error}") from error


def read_params(path: Path, section: str, cls: type[CheckedT]) -> CheckedT:
    """Read a section of a params.yaml.

    Args:
        path: The YAML file.
        section: Name of a mapping at its top level.
        cls: Model of the section. No field has a default: all values are chosen in params.yaml.

    Raises:
        ParamsError: The file or the section is missing, or values are unknown, missing, of the
            wrong type, out of range or inconsistent. The message lists every problem of the
            section.
    """
    sections = load_yaml(path)
    if not isinstance(sections, dict):
        raise ParamsError(f"{path}: expected sections of parameters, got {shown(sections)}")
    if section not in sections:
        raise ParamsError(f"{path}: no section {section!r}{did_you_mean(section, sections)}")
    return parse(sections[section], cls, where=f"{path}: {section}", error=ParamsError)


def _check_size(text: str) -> None:
    """Raise ValueError for too many or too deeply nested values, before they are constructed.

    A few lines of aliases of aliases can stand for billions of values.
    """
    sizes: dict[str, int] = {}  # of complete nodes by their anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and number of nodes before it
    total = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"line {event.start_mark.line + 1}: unknown alias {event.anchor}")
            total += sizes[event.anchor]
        elif isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if total > MAX_NODES or len(open_nodes) > MAX_DEPTH:
            raise ValueError(
                f"line {event.start_mark.line + 1}: expected at most {MAX_NODES} keys and values, "
                f"nested at most {MAX_DEPTH} times, with each alias counted as what it stands for"
            )

"""Read one section of params.yaml."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from fishdvc.errors import ParamsError
from fishdvc.storage.small_files import read_small_file
from fishdvc.validation import CheckedT, did_you_mean, parse, shown

MAX_BYTES = 50_000
MAX_EVENTS = 5_000
"""Maximum number of keys and values. A list or mapping counts twice: its start and its end."""
MAX_DEPTH = 50
MAX_ALIASES = 10
"""A few lines of aliases of aliases can stand for billions of values."""


def load_yaml(path: Path) -> Any:
    """Read a YAML file with DVC's own parser, so that both read every number alike.

    It implements YAML 1.2: ``1e-4`` is a number and ``off`` is a string.

    Raises:
        ParamsError: The file is missing, is not valid YAML, or is too large or too deep.
    """
    try:
        text = read_small_file(path, max_bytes=MAX_BYTES).decode()
        _check_structure(text)
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


def _check_structure(text: str) -> None:
    """Raise ValueError for values that would take much time or memory to construct."""
    depth = num_aliases = 0
    for num_events, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        num_aliases += isinstance(event, AliasEvent)
        if num_events > MAX_EVENTS or depth > MAX_DEPTH or num_aliases > MAX_ALIASES:
            raise ValueError(
                f"line {event.start_mark.line + 1}: expected at most {MAX_EVENTS} keys and values "
                f"with at most {MAX_ALIASES} aliases, nested at most {MAX_DEPTH} times"
            )

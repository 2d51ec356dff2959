"""Read one section of params.yaml."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fishdvc.errors import ParamsError
from fishdvc.validation import CheckedT, did_you_mean, parse


def load_yaml(path: Path) -> Any:
    """Read a YAML file with DVC's own parser, so that both read every number alike.

    It implements YAML 1.2: ``1e-4`` is a number and ``off`` is a string.

    Raises:
        ParamsError: The file is missing or is not valid YAML.
    """
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the project's top folder") from None
    except (OSError, ValueError, YAMLError) as error:
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
        raise ParamsError(f"{path}: expected sections of parameters, got {sections!r}")
    if section not in sections:
        raise ParamsError(f"{path}: no section {section!r}{did_you_mean(section, sections)}")
    return parse(sections[section], cls, where=f"{path}: {section}", error=ParamsError)

"""The README.md of a merged model, in the format of model cards on the Hugging Face Hub."""

from collections.abc import Mapping
from pathlib import Path

from fishdvc.corpus.numbers import counted, duration
from fishdvc.lora.checkpoint_list import Checkpoint
from fishdvc.lora.choice import ChosenCheckpoint
from fishdvc.validation import Checked

LICENSES = {"fishaudio/fish-speech-1.5": "cc-by-nc-sa-4.0"}
"""Licences of published bases, which models made from them inherit."""


def model_card(
    base: str,
    chosen: Checkpoint,
    evaluated: ChosenCheckpoint | None,
    training: Mapping[str, Checked],
) -> str:
    """Return a model card.

    Args:
        base: Source of the base: a repository on the hub, or a folder.
        chosen: The merged adapter. If its step is 0, it is a reference .ckpt, and nothing is known
            about its training.
        evaluated: Result of the stage ``evaluate``, if there is one.
        training: Sections of the parameters of training.
    """
    is_repository = not Path(base).is_dir()
    license_id = LICENSES.get(base) if is_repository else None
    header = {
        "pipeline_tag": "text-to-speech",
        **({"base_model": base} if is_repository else {}),
        **({"license": license_id} if license_id else {}),
    }
    lines = ["---", *(f"{key}: {value}" for key, value in header.items())]
    lines += ["tags:", "- fish-speech", "- lora", "---", "", "# Fine-tuned voice", ""]
    lines += [
        f"A text-to-speech model in the format of fish-speech 1.5: `{base}` with the adapter "
        f"`{chosen.folder}` merged into it. Made with fishdvc.",
        "",
        f"- Licence: {license_id or 'that of the base. Add it to the header of this file'}",
    ]
    if chosen.step and evaluated:
        clips, length = counted(evaluated.num_clips, "clip"), duration(3600 * evaluated.hours)
        lines.append(f"- Training data: {length}, {clips}")
        lines += _figures(evaluated, str(chosen.folder))
    if chosen.step and training:
        lines += ["", "## Parameters of training", "", "| parameter | value |", "|---|---|"]
        lines += [
            f"| {section}.{name} | {_cell(value)} |"
            for section, values in training.items()
            for name, value in values.model_dump().items()
        ]
    return "\n".join(lines) + "\n"


def _figures(evaluated: ChosenCheckpoint, checkpoint: str) -> list[str]:
    """Compare the checkpoint with the base in a table. Empty if it was not evaluated."""
    if checkpoint not in evaluated.figures:
        return []
    merged, base = (evaluated.figures.get(row, {}) for row in (checkpoint, "base"))
    lines = ["", "## Figures", "", "| metric | merged | base |", "|---|---|---|"]
    for name in merged | base:
        cells = [f"{row[name]:.4g}" if name in row else "" for row in (merged, base)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")

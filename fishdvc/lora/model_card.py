"""The README.md of a merged model, in the format of model cards on the Hugging Face Hub."""

from collections.abc import Mapping

LICENSES = {"fishaudio/fish-speech-1.5": "cc-by-nc-sa-4.0"}
"""Licences of published bases, which models made from them inherit."""


def model_card(
    *,
    base: str,
    is_repository: bool,
    checkpoint: str,
    data: str | None,
    figures: Mapping[str, Mapping[str, float]],
    params: Mapping[str, Mapping[str, object]],
) -> str:
    """Return a model card.

    Args:
        base: Source of the base: a repository on the hub, or a folder.
        is_repository: Whether it is a repository.
        checkpoint: Name of the merged adapter.
        data: Amount of data, in words. None: unknown.
        figures: Metrics of the checkpoint and of the base, by ``merged`` and ``base``.
        params: Sections of the parameters of training.
    """
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
        f"`{checkpoint}` merged into it. Made with fishdvc.",
        "",
        f"- Licence: {license_id or 'that of the base. Add it to the header of this file'}",
        *([f"- Training data: {data}"] if data else []),
    ]
    if figures:
        names = dict.fromkeys(name for of_row in figures.values() for name in of_row)
        lines += ["", "## Figures", "", f"| metric | {' | '.join(figures)} |"]
        lines += ["|---" * (1 + len(figures)) + "|"]
        for name in names:
            cells = [f"{row[name]:.4g}" if name in row else "" for row in figures.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    if params:
        lines += ["", "## Parameters of training", "", "| parameter | value |", "|---|---|"]
        lines += [
            f"| {section}.{name} | {_cell(value)} |"
            for section, values in params.items()
            for name, value in values.items()
        ]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")

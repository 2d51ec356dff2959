"""Write the tables and the graph of the stages in PAGES: ``python docs/render_readme.py``."""

import re
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/architecture.md")


def read_stages(pipeline: Path) -> dict[str, dict[str, Any]]:
    """Read the stages of a dvc.yaml and insert the paths of its ``vars``."""
    text = pipeline.read_text(encoding="utf-8")
    paths = yaml.safe_load(text)["vars"][0]["paths"]
    filled = re.sub(r"\$\{paths\.(\w+)\}", lambda match: str(paths[match[1]]), text)
    stages: dict[str, dict[str, Any]] = yaml.safe_load(filled)["stages"]
    return stages


def data_outs(stage: dict[str, Any]) -> list[str]:
    """List the outputs of a stage without metrics, reports and logs."""
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
    return [
        out for out in outs if not out.startswith(("data/metrics", "data/reports", "data/logs"))
    ]


def data_deps(stage: dict[str, Any]) -> list[str]:
    """List the dependencies of a stage without code. A manifest stands for its folder."""
    deps = [
        dep.replace("${dataset.path}", "dataset.path").removesuffix("/manifest")
        for dep in stage["deps"]
    ]
    return [dep for dep in deps if not dep.startswith(("fishdvc", "stages"))]


def stage_table(stages: dict[str, dict[str, Any]]) -> str:
    """Render a Markdown table of what each stage does and writes."""
    rows = ["| stage | what it does | writes |", "|---|---|---|"]
    for name, stage in stages.items():
        rows.append(f"| `{name}` | {stage['desc']} | {_cell(data_outs(stage))} |")
    return "\n".join(rows)


def input_table(stages: dict[str, dict[str, Any]]) -> str:
    """Render a Markdown table of the data and the parameters that each stage depends on."""
    rows = ["| stage | data | params |", "|---|---|---|"]
    for name, stage in stages.items():
        rows.append(f"| `{name}` | {_cell(data_deps(stage))} | {_cell(stage['params'])} |")
    return "\n".join(rows)


def _cell(names: list[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def stage_graph(stages: dict[str, dict[str, Any]]) -> str:
    """Render a Mermaid flow chart with one arrow per output that another stage reads."""
    makers = {out: name for name, stage in stages.items() for out in data_outs(stage)}
    arrows = [
        f"    {makers[dep]} -->|{Path(dep).name}| {name}"
        for name, stage in stages.items()
        for dep in data_deps(stage)
        if dep in makers
    ]
    return "\n".join(["```mermaid", "flowchart LR", *arrows, "```"])


def render(page: str, stages: dict[str, dict[str, Any]]) -> str:
    """Insert the tables and the graph between their markers, where the page has them."""
    for marker, make in (("stages", stage_table), ("inputs", input_table), ("graph", stage_graph)):
        content = make(stages)
        page = re.sub(
            rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)",
            lambda match, content=content: f"{match[1]}{content}\n{match[2]}",
            page,
            flags=re.DOTALL,
        )
    return page


if __name__ == "__main__":
    for page in (PROJECT / name for name in PAGES):
        rendered = render(page.read_text(encoding="utf-8"), read_stages(PROJECT / "dvc.yaml"))
        page.write_text(rendered, encoding="utf-8")

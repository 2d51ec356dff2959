"""A project of three clips in which all stages but train_lora can run, without Git and DVC."""

from pathlib import Path

import torch
import yaml

from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.lora.checkpoint_list import Checkpoint, write_checkpoints
from fishdvc.model.checkpoint import load_dual_ar
from fishdvc.params import load_yaml
from tests.small_project import SMALL, TOP, VOICE, copy_base, make_clip

OUTPUTS = {
    "fetch_base": ("base",),
    "normalize": ("normalized",),
    "check": ("reports/check.json", "reports/check.txt"),
    "extract_vq": ("codes",),
    "build_protos": ("protos",),
    "evaluate": ("evaluation/checkpoints.csv", "evaluation/choice.json", "evaluation/report"),
    "merge": ("merged",),
}
"""Main outputs of each stage below ``data``."""
CACHE = ".fishdvc_cache"
Tree = dict[str, bytes]


def make_light_project(folder: Path) -> None:
    """Write params, clips, a base and an adapter. No stage has run."""
    params = load_yaml(TOP / "params.yaml")
    for section, values in SMALL.items():
        params[section].update(values)
    params["evaluate"]["max_length_ratio"] = 1.01
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    copy_base(folder / "demo_base/checkpoint")
    for stage in ("fetch_base", "extract_vq", "train_lora", "merge"):
        (folder / "data/external" / stage).mkdir(parents=True)
    for i, name in enumerate(("ann/a", "ann/b", "bob/c")):
        make_clip(folder / VOICE / f"{name}.wav", seconds=0.3, seed=i, text=f"Sentence {i}.")
    torch.manual_seed(0)
    adapted = add_adapter(load_dual_ar(folder / "demo_base/checkpoint"), r=2, alpha=4, dropout=0)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    lora, name = folder / "data/lora", "step_000000010"
    save_adapter(adapted, lora / name)
    losses = [Checkpoint(step=0, val_loss=9, folder=None)]
    write_checkpoints(lora, [*losses, Checkpoint(step=10, val_loss=5, folder=name)])


def tree(folder: Path) -> Tree:
    """Read all files below a folder, and the names of empty folders, by relative path.

    The path of a file that is given itself is ``.``.
    """
    if folder.is_file():
        return {".": folder.read_bytes()}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }

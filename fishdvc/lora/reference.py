"""Convert LoRA checkpoints of the reference implementation to PEFT's format."""

from pathlib import Path

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.adapter import write_adapter
from fishdvc.lora.files import KEY_PREFIX
from fishdvc.model.checkpoint import load_weights


def convert_reference_adapter(checkpoint: Path, alpha: float, folder: Path) -> None:
    """Write an adapter that fish-speech v1.5.1 trained as an adapter folder.

    Args:
        checkpoint: A ``step_*.ckpt`` with keys ``<module>.lora_A`` and ``<module>.lora_B``.
        alpha: ``lora_alpha`` of its LoRA config (16 in the published ``r_8_alpha_16``). The
            checkpoint does not contain it.
        folder: Folder to create or replace.

    Raises:
        CheckpointError: The file is missing, damaged or contains other tensors.
    """
    tensors, problems = {}, []
    modules: dict[str, set[str]] = {"lora_A": set(), "lora_B": set()}
    ranks = set()
    for key, tensor in load_weights(checkpoint).items():
        name, _, part = key.rpartition(".")
        if part not in modules or tensor.ndim != 2:
            problems.append(f"{key}: expected only matrices lora_A and lora_B")
            continue
        modules[part].add(name)
        ranks.add(len(tensor) if part == "lora_A" else tensor.shape[1])
        if name.endswith("embeddings"):
            tensors[f"{KEY_PREFIX}{name}.{part.replace('lora', 'lora_embedding')}"] = tensor
        else:
            tensors[f"{KEY_PREFIX}{name}.{part}.weight"] = tensor
    names = modules["lora_A"] | modules["lora_B"]
    problems += [
        f"{name}.{part}: missing" for part, found in modules.items() for name in names - found
    ]
    if len(ranks) != 1:
        problems.append(f"expected one rank, got {sorted(ranks)}")
    if problems:
        summary = f"{checkpoint}: expected a LoRA checkpoint of fish-speech"
        raise CheckpointError(list_problems(summary, problems))
    config = {
        "peft_type": "LORA",
        "r": ranks.pop(),
        "lora_alpha": alpha,
        "target_modules": sorted(names),
    }
    write_adapter(folder, tensors, config)

"""Read the LoRA checkpoints that the reference implementation writes while training.

Knows their format: under ``state_dict``, ``model.``-prefixed keys ``<module>.lora_A`` and
``<module>.lora_B`` in loralib's orientation, and nothing of the scale, which stands in a config.
"""

from collections import defaultdict
from pathlib import Path

from torch import Tensor

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.lora.files import join_modules
from fishdvc.lora.merge import Adapter, lora_scale
from fishdvc.model.checkpoint import load_weights

_FIELDS = {"lora_A": "lora_a", "lora_B": "lora_b"}


def read_reference_adapter(checkpoint: str | Path, alpha: float) -> Adapter:
    """Read an adapter trained by fish-speech v1.5.1.

    Args:
        checkpoint: Its ``step_*.ckpt``.
        alpha: ``lora_alpha`` of its LoRA config (16 in the published ``r_8_alpha_16``).

    Returns:
        The adapter. Its rank is the first pair's; all must agree.

    Raises:
        CheckpointError: The file is missing, damaged or holds anything but pairs of A and B.
    """
    fields: dict[str, dict[str, Tensor]] = defaultdict(dict)
    problems = []
    for key, tensor in load_weights(checkpoint).items():
        name, _, part = key.rpartition(".")
        if part in _FIELDS and name and tensor.ndim == 2:
            fields[name][_FIELDS[part]] = tensor
        else:
            problems.append(f"{key}: unknown, or no matrix")
    embeddings = {name for name in fields if name.endswith("embeddings")}
    r = next((len(parts["lora_a"]) for parts in fields.values() if "lora_a" in parts), 1)
    modules = join_modules(fields, embeddings, r, problems)
    if problems:
        raise CheckpointError(
            list_problems(f"{checkpoint}: not the reference's LoRA checkpoint", problems)
        )
    return Adapter(modules, lora_scale(r, alpha))

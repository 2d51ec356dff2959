"""Train a model with an adapter by PEFT: add, save and load it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from fishdvc.errors import CheckpointError
from fishdvc.lora.files import CONFIG_NAME, WEIGHTS_NAME
from fishdvc.lora.layers import use_activation_type
from fishdvc.lora.merge import read_adapter_for
from fishdvc.lora.targets import ALL_TARGETS, Target
from fishdvc.model.dual_ar import DualAR
from fishdvc.storage.atomic import atomic_folder
from fishdvc.storage.tensors import writing_tensors


def add_adapter(
    model: DualAR,
    *,
    r: int,
    alpha: float,
    dropout: float,
    targets: Sequence[Target] = ALL_TARGETS,
    use_rslora: bool = False,
    use_dora: bool = False,
) -> PeftModel:
    """Freeze a model and add a new adapter, which does not change the output before training.

    The adapter is in float32, also on a bfloat16 model, because steps of 1e-4 are too small for
    bfloat16. It computes in the type of the activations.

    Args:
        model: The base. Changed in place.
        r: Rank.
        alpha: The product of A and B is scaled by ``alpha / r``.
        dropout: Dropout probability of the inputs of linear adapters. Embeddings have no dropout.
        targets: Names of the modules to adapt.
        use_rslora: Whether to scale by ``alpha / sqrt(r)``.
        use_dora: Whether to learn norms too (DoRA). Slower.

    Returns:
        The wrapped model. It has the methods of the base.
    """
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,  # type: ignore[arg-type]  # declared int, used as a factor
        lora_dropout=dropout,
        target_modules=list(targets),
        use_rslora=use_rslora,
        use_dora=use_dora,
    )
    return get_peft_model(model, use_activation_type(config))


def save_adapter(peft_model: PeftModel, folder: str | Path) -> None:
    """Create or replace a folder with the adapter, without paths of this machine."""
    tensors = get_peft_model_state_dict(peft_model, save_embedding_layers=False)
    config = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in peft_model.peft_config["default"].to_dict().items()
    }
    write_adapter(Path(folder), tensors, {**config, "base_model_name_or_path": None})


def write_adapter(
    folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, object]
) -> None:
    """Create or replace an adapter folder atomically. Equal adapters give equal bytes.

    Args:
        folder: The folder.
        tensors: Tensors by PEFT's keys.
        config: Content of adapter_config.json.
    """
    with atomic_folder(folder) as partial, writing_tensors(folder):
        save_file(
            {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
            partial / WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
        text = json.dumps(config, indent=2, sort_keys=True)
        (partial / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def load_adapter(model: DualAR, folder: str | Path, *, trainable: bool = False) -> PeftModel:
    """Load an adapter on the model that it was trained on.

    Args:
        model: The base. Changed in place.
        folder: Any LoRA adapter of PEFT for a ``DualAR``.
        trainable: Whether to train the adapter. By default, it is frozen and in evaluation mode.

    Returns:
        The wrapped model. It has the methods of the base.

    Raises:
        CheckpointError: The adapter has a problem as in ``read_adapter_for``.
    """
    folder = Path(folder)
    read_adapter_for(model, folder)  # For its checks, which PEFT does not make.
    try:
        config = use_activation_type(LoraConfig.from_pretrained(str(folder)))
        config.inference_mode = not trainable
        peft_model: PeftModel = get_peft_model(model, config)
        set_peft_model_state_dict(peft_model, load_file(folder / WEIGHTS_NAME))
    # A damaged config raises TypeError, ValueError, AttributeError, re.error or others.
    except Exception as error:
        raise CheckpointError(f"{folder}: PEFT cannot load this adapter: {error}") from error
    if not trainable:
        peft_model.eval().requires_grad_(False)
    return peft_model

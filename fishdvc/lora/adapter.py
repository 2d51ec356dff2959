"""Adapters while they train: put them on a model, save and load them, all by PEFT.

Knows the places of a dual-AR model that take an adapter; no optimizers, no corpus.
"""

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from fishdvc.errors import CheckpointError, ParamsError, list_problems
from fishdvc.lora.files import CONFIG_NAME, WEIGHTS_NAME, read_adapter
from fishdvc.model.dual_ar import DualAR

ALL_TARGETS = (
    "embeddings",
    "codebook_embeddings",
    "fast_embeddings",
    "wqkv",
    "wo",
    "w1",
    "w2",
    "w3",
    "output",
    "fast_output",
)
"""Where the reference implementation puts adapters; the five short names are in every block of
both transformers."""


def add_adapter(
    model: DualAR,
    *,
    r: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] = ALL_TARGETS,
    use_rslora: bool = False,
    use_dora: bool = False,
) -> PeftModel:
    """Freeze a model and put a new adapter on it, which at first changes nothing.

    The adapter is in float32 whatever the model's type: steps of 1e-4 hardly move bfloat16.

    Args:
        model: The base; changed in place.
        r: Rank.
        alpha: The product's factor is ``alpha / r``.
        dropout: Probability with which an input of a linear adapter is dropped in training;
            embeddings have none.
        targets: Some of ``ALL_TARGETS``.
        use_rslora: Whether the factor is ``alpha / sqrt(r)``.
        use_dora: Whether to learn norms too (DoRA); slower.

    Returns:
        The model in PEFT's wrapping, which passes the model's methods on.

    Raises:
        ParamsError: A target is unknown, given twice or not in this model.
    """
    _check_targets(model, targets)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,  # type: ignore[arg-type]  # declared int, used as a factor
        lora_dropout=dropout,
        target_modules=list(targets),
        use_rslora=use_rslora,
        use_dora=use_dora,
    )
    return get_peft_model(model, config)


def save_adapter(peft_model: PeftModel, folder: str | Path) -> None:
    """Save an adapter in PEFT's format, all or nothing.

    Equal weights give equal bytes, and no path of this machine is written.

    Args:
        peft_model: From ``add_adapter`` or ``load_adapter``.
        folder: To be made, or replaced.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    tensors = get_peft_model_state_dict(peft_model, save_embedding_layers=False)
    config = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in peft_model.peft_config["default"].to_dict().items()
    }
    config["base_model_name_or_path"] = None
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workspace:
        new, old = Path(workspace, "new"), Path(workspace, "old")
        new.mkdir()
        save_file(
            {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
            new / WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
        text = json.dumps(config, indent=2, sort_keys=True)
        (new / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)


def load_adapter(model: DualAR, folder: str | Path, *, trainable: bool = False) -> PeftModel:
    """Put a saved adapter on the model it was trained on.

    Args:
        model: The base; changed in place.
        folder: From ``save_adapter``, or any LoRA of PEFT on a ``DualAR``.
        trainable: Whether training is to go on; otherwise the adapter is frozen too.

    Returns:
        The model in PEFT's wrapping.

    Raises:
        CheckpointError: A file is missing or damaged, or the adapter belongs to another base.
    """
    folder = Path(folder)
    read_adapter(folder)  # for its checks
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    try:
        targets = [name for name in config.target_modules or () if isinstance(name, str)]
        _check_targets(model, targets)
        peft_model: PeftModel = get_peft_model(model, config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing keys, which are compared below
            tensors = load_file(folder / WEIGHTS_NAME)
            result: Any = set_peft_model_state_dict(peft_model, tensors)
    except (ParamsError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: does not fit the base: {error}") from error
    problems = [f"{key}: unexpected" for key in result.unexpected_keys]
    problems += [f"{key}: missing" for key in result.missing_keys if ".lora_" in key]
    if problems:
        raise CheckpointError(list_problems(f"{folder}: does not fit the base", problems))
    return peft_model


def _check_targets(model: DualAR, targets: Sequence[str]) -> None:
    problems = [
        f"{name!r}: unknown; known are {', '.join(ALL_TARGETS)}"
        for name in targets
        if name not in ALL_TARGETS
    ]
    problems += [f"{name!r}: given twice" for name in set(targets) if targets.count(name) > 1]
    if not targets:
        problems.append("none given")
    if model.config.tie_word_embeddings:
        problems += [
            f"{name!r}: cannot be adapted on this base, whose vocabulary head is tied to its "
            "embeddings; leave it out"
            for name in ("embeddings", "output")
            if name in targets
        ]
    if problems:
        raise ParamsError(list_problems("targets: not usable", problems))

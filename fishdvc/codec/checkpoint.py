"""Load a codec's weights from any of the spellings in which they are published.

Knows the keys' prefixes and the spellings of weight norm; the names themselves are the modules'.
"""

from pathlib import Path

import torch
from torch import Tensor

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.errors import CheckpointError, list_problems

WRAPPER = "state_dict"
GENERATOR_PREFIX = "generator."
DECODER_PREFIXES = ("head.", "quantizer.upsample.")
WEIGHT_NORM_SPELLINGS = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)


def load_codec(
    checkpoint: str | Path,
    config: CodecConfig | str | Path | None = None,
    *,
    device: torch.device | str = "cpu",
    decoder: bool = True,
) -> Codec:
    """Load a codec for inference, in float32 whatever the file holds.

    Args:
        checkpoint: A PyTorch file: the generator's weights, flat, or under ``state_dict`` with
            the prefix ``generator.`` beside other networks' weights. The decoder's weight norm
            may be kept in either spelling of PyTorch or merged; it is merged once, here.
        config: The codec's numbers, or the path of a JSON file of them; None is the published
            firefly-gan-vq-fsq-8x1024-21hz.
        device: Where the codec is put.
        decoder: Whether ``decode`` is needed. Without, the decoder (half of the weights) is
            neither built nor read.

    Returns:
        The codec in evaluation mode; its parameters want no gradient.

    Raises:
        CheckpointError: A file is missing, damaged or of another codec; every key that is
            missing, unexpected or of another shape is listed.
    """
    if config is None:
        config = CodecConfig.firefly()
    elif not isinstance(config, CodecConfig):
        config = CodecConfig.read(config)
    weights = read_codec_weights(checkpoint)
    if not decoder:
        weights = {k: v for k, v in weights.items() if not k.startswith(DECODER_PREFIXES)}
    codec = Codec(config, decoder=decoder, weight_norm=False)
    weights = merge_weight_norm(weights)
    _check_fit(str(checkpoint), weights, codec.state_dict())
    codec.load_state_dict(weights, strict=True)
    return codec.to(device).eval().requires_grad_(False)


def read_codec_weights(checkpoint: str | Path) -> dict[str, Tensor]:
    """Map a checkpoint's tensors into memory, by their keys without wrapper or prefix.

    A tensor's bytes are read from the file when they are first used.

    Raises:
        CheckpointError: The file is missing, or is not a PyTorch file that holds named tensors.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{checkpoint}: no such file; fetch the base model") from error
    # Damage shows as any of OSError, RuntimeError, EOFError, UnpicklingError, KeyError, ...
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{checkpoint}: a whole PyTorch file (zip format, weights only) needed, "
            f"got {reason}; fetch it again"
        ) from error
    if isinstance(content, dict) and isinstance(content.get(WRAPPER), dict):
        content = content[WRAPPER]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{checkpoint}: named tensors needed, got {type(content).__name__}")
    content = {str(key): value for key, value in content.items()}
    if any(key.startswith(GENERATOR_PREFIX) for key in content):
        content = {
            key.removeprefix(GENERATOR_PREFIX): value
            for key, value in content.items()
            if key.startswith(GENERATOR_PREFIX)
        }
    others = [
        f"{key}: a tensor of floating point numbers needed, got {getattr(v, 'dtype', type(v))}"
        for key, v in content.items()
        if not (isinstance(v, Tensor) and v.is_floating_point())
    ]
    if others:
        raise CheckpointError(
            list_problems(f"{checkpoint}: not a codec's weights; give its generator's", others)
        )
    return content


def merge_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace each pair of a length and a direction by the weight ``g * v / |v|``.

    The norm is over all dimensions but the first, for transposed convolutions too.

    Args:
        weights: Tensors by key; pairs in either spelling of PyTorch. Not changed.

    Returns:
        The tensors by key, with ``X.weight`` for each pair of ``X``; others as they are.
    """
    merged = dict(weights)
    for key, g in weights.items():
        for length, direction in WEIGHT_NORM_SPELLINGS:
            layer = key.removesuffix(length)
            v = weights.get(layer + direction)
            # A length of another shape is left alone: whoever loads will report its key.
            if layer != key and v is not None and g.shape == (*v.shape[:1], 1, 1):
                norm = torch.linalg.vector_norm(v.float(), dim=(1, 2), keepdim=True)
                merged[f"{layer}.weight"] = g.float() * v.float() / norm
                del merged[key], merged[layer + direction]
    return merged


def _check_fit(where: str, weights: dict[str, Tensor], needed: dict[str, Tensor]) -> None:
    problems = [
        f"{key}: shape {tuple(tensor.shape)} needed, got {tuple(weights[key].shape)}"
        for key, tensor in needed.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    problems += [f"{key}: unexpected" for key in weights if key not in needed]
    problems += [f"{key}: missing" for key in needed if key not in weights]
    if problems:
        raise CheckpointError(
            list_problems(
                f"{where}: not the weights of this codec; give its own config or checkpoint",
                problems,
            )
        )

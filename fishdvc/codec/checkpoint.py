"""Load a codec's weights from any format in which they are published."""

from pathlib import Path

import torch
from torch import Tensor

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig
from fishdvc.errors import CheckpointError, list_problems

GENERATOR_PREFIX = "generator."
DECODER_PREFIXES = ("head.", "quantizer.upsample.")
WEIGHT_NORM_SUFFIXES = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)
"""Keys of norm and direction in PyTorch's current and former implementation of weight norm."""


def load_codec(
    checkpoint: str | Path,
    config: CodecConfig | str | Path | None = None,
    *,
    device: torch.device | str = "cpu",
    decoder: bool = True,
) -> Codec:
    """Load a codec for inference, in float32.

    Args:
        checkpoint: A PyTorch file with the generator's weights of any floating point type. Keys
            may have the prefix ``generator.`` and lie under ``state_dict``, beside the weights of
            other networks. The decoder's weight norm may be merged, or kept in either format of
            ``WEIGHT_NORM_SUFFIXES``.
        config: The codec's config, or the path of its JSON file. None selects the published
            firefly-gan-vq-fsq-8x1024-21hz.
        device: Device of the codec.
        decoder: Whether to build and read the decoder (half of the weights), for ``decode``.

    Returns:
        The codec in evaluation mode, with merged weight norm and without gradients.

    Raises:
        CheckpointError: A file is missing or damaged, or the weights do not fit the config. Every
            key that is missing, unexpected or of another shape is listed.
    """
    if config is None:
        config = CodecConfig.firefly()
    elif not isinstance(config, CodecConfig):
        config = CodecConfig.read(config)
    weights = _read_weights(checkpoint)
    if not decoder:
        weights = {k: v for k, v in weights.items() if not k.startswith(DECODER_PREFIXES)}
    weights = merge_weight_norm(weights)
    codec = Codec(config, decoder=decoder, weight_norm=False)
    _check_fit(checkpoint, weights, codec.state_dict())
    codec.load_state_dict(weights, strict=True)
    return codec.to(device).eval().requires_grad_(False)


def _read_weights(checkpoint: str | Path) -> dict[str, Tensor]:
    """Memory-map the generator's tensors, keyed without the prefix."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{checkpoint}: no such file; fetch the base model") from error
    # A damaged file raises OSError, RuntimeError, EOFError, UnpicklingError, KeyError or others.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{checkpoint}: expected a PyTorch file (zip format, weights only), got {reason}; "
            "fetch it again"
        ) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{checkpoint}: expected named tensors, got {type(content).__name__}")
    weights = {str(key): value for key, value in content.items()}
    generator = {
        key.removeprefix(GENERATOR_PREFIX): value
        for key, value in weights.items()
        if key.startswith(GENERATOR_PREFIX)
    }
    weights = generator or weights
    problems = [
        f"{key}: expected a floating point tensor, got {getattr(value, 'dtype', type(value))}"
        for key, value in weights.items()
        if not (isinstance(value, Tensor) and value.is_floating_point())
    ]
    if problems:
        raise CheckpointError(
            list_problems(f"{checkpoint}: not a codec; use its generator's weights", problems)
        )
    return weights


def merge_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace each pair of norm ``g`` and direction ``v`` by the weight ``g * v / |v|``.

    ``|v|`` is over all dimensions but the first, for transposed convolutions too.

    Args:
        weights: Tensors by key, with the suffixes of ``WEIGHT_NORM_SUFFIXES``. Not modified.

    Returns:
        A copy with ``X.weight``, in float32, for each pair of a layer ``X``.
    """
    merged = dict(weights)
    for key, g in weights.items():
        for g_suffix, v_suffix in WEIGHT_NORM_SUFFIXES:
            layer = key.removesuffix(g_suffix)
            v = weights.get(layer + v_suffix)
            # A norm of another shape stays, and load_codec reports its key as unexpected.
            if layer != key and v is not None and g.shape == (*v.shape[:1], 1, 1):
                norm = torch.linalg.vector_norm(v.float(), dim=(1, 2), keepdim=True)
                merged[f"{layer}.weight"] = g.float() * v.float() / norm
                del merged[key], merged[layer + v_suffix]
    return merged


def _check_fit(
    checkpoint: str | Path, weights: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    problems = [
        f"{key}: expected shape {tuple(tensor.shape)}, got {tuple(weights[key].shape)}"
        for key, tensor in expected.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    problems += [f"{key}: unexpected" for key in weights if key not in expected]
    problems += [f"{key}: missing" for key in expected if key not in weights]
    if problems:
        summary = f"{checkpoint}: the weights do not fit the codec's config; change one of them"
        raise CheckpointError(list_problems(summary, problems))

"""Load a codec's weights from any format in which they are published."""

from pathlib import Path

import torch
from torch import Tensor

from fishdvc.codec.codec import Codec
from fishdvc.codec.config import CodecConfig, codec_config_path
from fishdvc.storage.tensors import check_fit, read_tensors

GENERATOR_PREFIX = "generator."
DECODER_PREFIXES = ("head.", "quantizer.upsample.")
WEIGHT_NORM_SUFFIXES = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)
"""Keys of norm and direction in PyTorch's current and former implementation of weight norm."""


def load_codec(
    checkpoint: Path,
    config: CodecConfig | Path | None = None,
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
        config: The codec's config, or its JSON file. None: the file of ``codec_config_path``.
        device: Device of the codec.
        decoder: Whether to build and read the decoder (half of the weights), for ``decode``.

    Returns:
        The codec in evaluation mode, with merged weight norm and without gradients.

    Raises:
        CheckpointError: A file is missing or damaged, or the weights do not fit the config. Every
            key that is missing, unexpected or of another shape is listed.
    """
    if not isinstance(config, CodecConfig):
        config = CodecConfig.read(config or codec_config_path(checkpoint))
    weights = read_tensors(checkpoint)
    if any(key.startswith(GENERATOR_PREFIX) for key in weights):
        weights = {
            key.removeprefix(GENERATOR_PREFIX): tensor
            for key, tensor in weights.items()
            if key.startswith(GENERATOR_PREFIX)
        }
    if not decoder:
        weights = {k: v for k, v in weights.items() if not k.startswith(DECODER_PREFIXES)}
    weights = merge_weight_norm(weights)
    codec = Codec(config, decoder=decoder, weight_norm=False)
    check_fit(checkpoint, codec.state_dict(), weights)
    codec.load_state_dict(weights, strict=True)
    return codec.to(device).eval().requires_grad_(False)


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

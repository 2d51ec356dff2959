"""LoRA layers of PEFT that compute in the type of the activations.

PEFT converts the activations to the adapter's float32 and back. On a GPU, these conversions and
products in float32 take a large part of a training step.
"""

from typing import Any

from peft import LoraConfig
from peft.tuners.lora import Embedding, Linear
from torch import Tensor, nn


class ActivationTypeLinear(Linear):
    """LoRA of a linear layer (Hu et al., arXiv:2106.09685)."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the layer to ``(..., in_features)``, with the product of A and B added.

        Variants such as DoRA, merged and disabled adapters are computed by PEFT.
        """
        name = _plain_adapter(self, self.lora_A)
        if name is None or args or kwargs:
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        # As rows, because adding in place to a view would copy the gradient.
        output: Tensor = self.base_layer(x.flatten(0, -2))
        a, b = (
            layers[name].get_parameter("weight").to(output.dtype)
            for layers in (self.lora_A, self.lora_B)
        )
        low_rank = self.lora_dropout[name](x).flatten(0, -2) @ a.T
        scale: float = self.scaling[name]
        return output.addmm_(low_rank, b.T, alpha=scale).view(*x.shape[:-1], output.shape[-1])


class ActivationTypeEmbedding(Embedding):
    """LoRA of an embedding."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Embed ids of any shape, with the product of A and B added."""
        name = _plain_adapter(self, self.lora_embedding_A)
        if name is None or args or kwargs:
            output: Tensor = super().forward(x, *args, **kwargs)
            return output
        base = self.base_layer(x)
        low_rank = nn.functional.embedding(x, self.lora_embedding_A[name].T).to(base.dtype)
        b = self.lora_embedding_B[name].to(base.dtype)
        # Not addmm, whose result would be bfloat16 under autocast also for embeddings in float32.
        added: Tensor = base.add(low_rank @ b.T, alpha=self.scaling[name])
        return added


def use_activation_type(config: LoraConfig) -> LoraConfig:
    """Make PEFT build the layers of this module. Saved adapters do not differ."""
    config._register_custom_module(
        {nn.Linear: ActivationTypeLinear, nn.Embedding: ActivationTypeEmbedding}
    )
    return config


def _plain_adapter(
    layer: Linear | Embedding, adapters: nn.ModuleDict | nn.ParameterDict
) -> str | None:
    """Return the name of the only active adapter, or None if PEFT must compute it."""
    active = layer.active_adapters
    if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] not in adapters:
        return None
    return None if active[0] in layer.lora_variant else active[0]

"""The rate of codes: their negative log-likelihood, given the phones and the past codes.

The dual-AR model has to predict the codes. The codec is trained to lower their rate, as in learned
image compression (Ballé et al. 2018, https://arxiv.org/abs/1802.01436). So it does not encode
details that hardly matter and that no model can predict.
"""

import torch
from torch import Tensor, nn

from demo_base.recipe.phones import LABELS_PER_FRAME
from fishdvc.codec.quantizer import FiniteScalarQuantizer

NUM_CHANNELS = 160
KERNEL_SIZE = 3
DILATIONS = (1, 2, 4)
"""Of the convolutions over past frames. Together they reach 17 frames back, about a second."""
NUM_CONTEXT_LABELS = 10
"""Labels of phones around a frame, with the frame's own in the middle."""
HEAD_CHANNELS = 128
MAX_LOG_SCALE = 3.0
MIN_PROBABILITY = 1e-5


class CodePredictor(nn.Module):
    """Predicts the values of each code from phones, earlier frames, and earlier codes of the frame.

    It reads no codes of later frames, as the dual-AR model. Unlike that model, it knows which phone
    is spoken when.
    """

    def __init__(self, num_codebooks: int, coordinates: int, num_phones: int) -> None:
        """Build the layers for codes of ``coordinates`` values each."""
        super().__init__()
        num_values = num_codebooks * coordinates
        self.phones = nn.Conv1d(
            num_phones,
            NUM_CHANNELS,
            NUM_CONTEXT_LABELS,
            stride=LABELS_PER_FRAME,
            padding=(NUM_CONTEXT_LABELS - LABELS_PER_FRAME) // 2,
        )
        self.past = nn.Conv1d(num_values, NUM_CHANNELS, KERNEL_SIZE)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(NUM_CHANNELS, NUM_CHANNELS, KERNEL_SIZE, dilation=dilation)
            for dilation in DILATIONS
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(NUM_CHANNELS + k * coordinates, HEAD_CHANNELS),
                nn.GELU(),
                nn.Linear(HEAD_CHANNELS, HEAD_CHANNELS),
                nn.GELU(),
                nn.Linear(HEAD_CHANNELS, 2 * coordinates),
            )
            for k in range(num_codebooks)
        )

    def forward(self, values: list[Tensor], labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Predict the values of each codebook.

        Args:
            values: Quantized values of each codebook, ``(batch, frames, coordinates)``.
            labels: ``(batch, frames * LABELS_PER_FRAME, classes)``, shares of the phones.

        Returns:
            Mean and logarithm of the scale for each codebook, each as its values.
        """
        past = torch.cat(values, dim=-1).transpose(1, 2)[..., :-1]
        x = self.past(nn.functional.pad(past, (KERNEL_SIZE, 0)))
        x = nn.functional.gelu(x + self.phones(labels.transpose(1, 2)))
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            padded = nn.functional.pad(x, ((KERNEL_SIZE - 1) * convolution.dilation[0], 0))
            x = x + nn.functional.gelu(convolution(padded))
        states = x.transpose(1, 2)
        predictions = []
        for k, head in enumerate(self.heads):
            mean, log_scale = head(torch.cat((states, *values[:k]), dim=-1)).chunk(2, dim=-1)
            predictions.append((mean, log_scale.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)))
        return predictions


def code_nats(
    fsq: FiniteScalarQuantizer, values: Tensor, mean: Tensor, log_scale: Tensor
) -> Tensor:
    """Compute the negative log-likelihood of quantized values under logistic distributions.

    The first and the last level take the tails, so that the probabilities of all levels add up
    to 1.

    Args:
        fsq: Its levels.
        values: Quantized values ``(..., coordinates)``, from -1 to 1.
        mean: In the unit of the values, the same shape.
        log_scale: Of the scale in levels, the same shape.

    Returns:
        Nats per code, ``(...)``, differentiable in all arguments.
    """
    levels = values * fsq.half_widths
    distance = levels - mean * fsq.half_widths
    scale = log_scale.exp()
    is_first = levels.detach().round() == -fsq.half_widths
    is_last = levels.detach().round() == fsq.levels - fsq.half_widths - 1
    below_upper_edge = torch.sigmoid((distance + 0.5) / scale).masked_fill(is_last, 1)
    below_lower_edge = torch.sigmoid((distance - 0.5) / scale).masked_fill(is_first, 0)
    probability = (below_upper_edge - below_lower_edge).clamp_min(MIN_PROBABILITY)
    return -probability.log().sum(dim=-1)

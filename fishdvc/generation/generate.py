"""From a prompt to the codes of speech, one frame after another.

Knows the model and the order in which a frame is drawn; neither text nor waveforms. Unlike the
reference implementation it keeps the first frame and not that of the end token, can draw nothing
but semantic tokens and the end, and attends over the tokens there are, not over the longest
sequence there could be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fishdvc.errors import ParamsError, list_problems
from fishdvc.generation.sampling import (
    PENALTY_WINDOW_FRAMES,
    penalize,
    penalty_window,
    sample,
)
from fishdvc.model import DualAR
from fishdvc.model.kv_cache import KVCache


@torch.inference_mode()
def generate(
    model: DualAR,
    prompt: Tensor,
    *,
    max_new_frames: int,
    temperature: float,
    top_p: float,
    repetition_penalty: float,
    end_id: int | None,
    num_codes: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue a prompt with frames of codes.

    Args:
        model: A ``DualAR``, or a PEFT model around one, in evaluation mode.
        prompt: Ids in row 0, codes below, ``(1 + num_codebooks, tokens)``, on the model's device.
        max_new_frames: Where to stop at the latest; a result of this length was cut short.
        temperature: Above 0; below 1 sharpens.
        top_p: Probability of the nucleus, above 0, at most 1.
        repetition_penalty: Divides the positive logits of ids in the last 16 frames; 1 is none.
        end_id: Id of the token that ends the speech; None goes on to ``max_new_frames``.
        num_codes: How many codes per codebook the codec knows; those from here on are not drawn.
            None allows all that the model knows.
        generator: Source of randomness, on the model's device; None is torch's own.

    Returns:
        int64 codes, ``(num_codebooks, frames)``.

    Raises:
        ParamsError: A setting is out of range, or prompt and frames exceed the model's
            ``max_seq_len``.
    """
    num_tokens = prompt.shape[-1]
    settings = _Settings(temperature, top_p, repetition_penalty, generator)
    num_codes = model.config.codebook_size if num_codes is None else num_codes
    problems = settings.problems()
    if max_new_frames < 1:
        problems.append(f"max_new_frames: at least 1 expected, got {max_new_frames}")
    if not 1 <= num_codes <= model.config.codebook_size:
        problems.append(f"num_codes: 1..{model.config.codebook_size} expected, got {num_codes}")
    if num_tokens + max_new_frames > model.config.max_seq_len:
        problems.append(
            f"max_new_frames: {num_tokens} tokens of prompt and {max_new_frames} frames exceed "
            f"max_seq_len = {model.config.max_seq_len}; shorten the reference or the text"
        )
    if problems:
        raise ParamsError(list_problems("generate: cannot start", problems))

    code_ids = torch.arange(num_codes, device=prompt.device)
    token_ids = model.semantic_begin_id + code_ids
    if end_id is not None:
        token_ids = torch.cat((token_ids, token_ids.new_tensor([end_id])))
    # The last frame is drawn, not read.
    caches = [KVCache(num_tokens + max_new_frames - 1) for _ in model.layers]
    fast_caches = [KVCache(model.config.num_codebooks) for _ in model.fast_layers]

    inputs = prompt.long().unsqueeze(0)
    batch, num_rows, _ = inputs.shape
    num_places = max(PENALTY_WINDOW_FRAMES, max_new_frames)
    # Ids in row 0, codes below. The first frame never enters: so it is in the reference
    # implementation, and the penalties that follow depend on it.
    history = inputs.new_zeros(batch, num_rows, num_places)
    frames: list[Tensor] = []
    for step in range(max_new_frames):
        hidden = model.hidden_states(inputs, caches=caches)[:, -1]
        window = penalty_window(history, step - 1) if step > 0 else None
        logits = model.token_logits(hidden)[:, token_ids]
        token = settings.draw(logits, token_ids, None if window is None else window[:, 0])
        if token.item() == end_id:
            break
        first_code = token - model.semantic_begin_id
        codes = _draw_codes(model, hidden, first_code, code_ids, window, fast_caches, settings)
        frame = torch.cat((token.unsqueeze(1), codes), dim=1)
        if step > 0:
            history[:, :, step - 1] = frame
        frames.append(codes)
        inputs = frame.unsqueeze(-1)
    if not frames:
        return prompt.new_empty(num_rows - 1, 0, dtype=torch.int64)
    return torch.stack(frames, dim=-1).squeeze(0)


def _draw_codes(
    model: DualAR,
    hidden: Tensor,
    first_code: Tensor,
    code_ids: Tensor,
    window: Tensor | None,
    caches: Sequence[KVCache],
    settings: "_Settings",
) -> Tensor:
    """Draw the codes of a frame after the first, each given those before it.

    Args:
        model: The model.
        hidden: State of the slow transformer, ``(batch, dim)``.
        first_code: Code of codebook 0, which the main token gives, ``(batch,)``.
        code_ids: The codes that may be drawn, ``(choices,)``.
        window: For the penalty, ``(batch, 1 + num_codebooks, 16)``, or None.
        caches: Of the fast transformer; cleared here.
        settings: How to draw.

    Returns:
        ``(batch, num_codebooks)``, ``first_code`` included.
    """
    for cache in caches:
        cache.clear()
    codes = [first_code]
    # What place 0 says of codebook 0 is not needed, so the first two places go in at once.
    places = torch.stack((hidden, model.fast_embeddings(first_code)), dim=1)
    for codebook in range(1, model.config.num_codebooks):
        logits = model.fast_logits(places, caches)[:, -1, : len(code_ids)]
        recent = None if window is None else window[:, 1 + codebook]
        code = settings.draw(logits, code_ids, recent)
        codes.append(code)
        places = model.fast_embeddings(code).unsqueeze(1)
    return torch.stack(codes, dim=1)


@dataclass(frozen=True)
class _Settings:
    """How every id and code is drawn."""

    temperature: float
    top_p: float
    repetition_penalty: float
    generator: torch.Generator | None

    def problems(self) -> list[str]:
        problems = []
        if not self.temperature > 0:
            problems.append(f"temperature: above 0 expected, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            problems.append(f"top_p: above 0 and at most 1 expected, got {self.top_p}")
        if not self.repetition_penalty > 0:
            problems.append(f"repetition_penalty: above 0 expected, got {self.repetition_penalty}")
        return problems

    def draw(self, logits: Tensor, ids: Tensor, window: Tensor | None) -> Tensor:
        """Draw ids, ``(batch,)``, by logits ``(batch, choices)``."""
        logits = logits.float()
        if window is not None:
            logits = penalize(logits, ids, window, self.repetition_penalty)
        chosen = sample(
            logits, temperature=self.temperature, top_p=self.top_p, generator=self.generator
        )
        return ids[chosen]

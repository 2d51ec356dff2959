"""Continue prompts with frames of codes, several sequences at once.

Differences from the reference implementation: the result holds the first frame and not that of the
end token; only semantic tokens and the end token are drawn; attention reads the tokens so far, not
``max_seq_len`` places.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fishdvc.errors import ParamsError
from fishdvc.generation.sampling import PENALTY_WINDOW_FRAMES, draw, penalty_window
from fishdvc.generation.settings import Sampling
from fishdvc.model.dual_ar import DualAR
from fishdvc.model.kv_cache import KVCache


@torch.inference_mode()
def generate(
    model: DualAR,
    prompts: Sequence[Tensor],
    *,
    seeds: Sequence[int],
    max_new_frames: int,
    sampling: Sampling,
    end_id: int | None,
    num_codes: int | None = None,
    on_frame: Callable[[], object] | None = None,
) -> list[Tensor]:
    """Continue prompts with frames of codes.

    Each sequence has its own random numbers and attends to its own tokens, so a batch gives the
    codes that each prompt gives alone. (Matrix products of another batch size may round the last
    bit of a logit differently. This changes a code only if its random number lies exactly on the
    boundary between two choices.) Sequences that have ended are removed from the batch.

    Args:
        model: A ``DualAR``, or a PEFT model around one, in evaluation mode.
        prompts: At least one. Ids in row 0, codes below, each ``(1 + num_codebooks, tokens)``, on
            the model's device. Their lengths may differ.
        seeds: One for each prompt.
        max_new_frames: Maximum number of frames, at least 1. A result of this length has not ended
            by itself.
        sampling: How to draw.
        end_id: Id of the token that ends the speech. None: generate ``max_new_frames`` frames.
        num_codes: Codes from this number on are not drawn, because the codec does not have them. At
            most the model's ``codebook_size``, which None stands for.
        on_frame: Called after each frame of the batch.

    Returns:
        int64 codes of each prompt, ``(num_codebooks, frames)``.

    Raises:
        ParamsError: A prompt and its frames exceed the model's ``max_seq_len``.
    """
    longest = max(prompt.shape[-1] for prompt in prompts)
    if longest + max_new_frames > model.config.max_seq_len:
        raise ParamsError(
            f"{longest} tokens of prompt and {max_new_frames} frames exceed max_seq_len = "
            f"{model.config.max_seq_len}; shorten the reference or the text, or reduce the maximum "
            "length (--max-part-s)"
        )
    device = prompts[0].device
    code_ids = torch.arange(num_codes or model.config.codebook_size, device=device)
    token_ids = model.semantic_begin_id + code_ids
    if end_id is not None:
        token_ids = torch.cat((token_ids, token_ids.new_tensor([end_id])))
    num_codebooks = model.config.num_codebooks
    # Random numbers come from the CPU, so that a seed gives the same numbers on every device.
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    frames: list[list[Tensor]] = [[] for _ in prompts]
    active = list(range(len(prompts)))

    # The last frame is drawn, but not fed back.
    hidden, caches = _read_prompts(model, prompts, num_more=max_new_frames - 1)
    # Ids in row 0, codes below. The first frame is never added, as in the reference
    # implementation; the penalties of all later frames depend on this.
    num_places = max(PENALTY_WINDOW_FRAMES, max_new_frames)
    history = torch.zeros(
        len(prompts), 1 + num_codebooks, num_places, dtype=torch.int64, device=device
    )
    for step in range(max_new_frames):
        drawn = [torch.rand(num_codebooks, generator=generators[i]) for i in active]
        uniform = torch.stack(drawn).to(device)
        window = penalty_window(history, step - 1) if step > 0 else None
        logits = model.token_logits(hidden)[:, token_ids]
        recent_ids = None if window is None else window[:, 0]
        token = draw(sampling, logits, token_ids, recent_ids, uniform[:, 0])
        if end_id is not None and bool((token == end_id).any()):
            kept = (token != end_id).nonzero().squeeze(1)
            active = [active[i] for i in kept.tolist()]
            if not active:
                break
            token, hidden, uniform, history = (x[kept] for x in (token, hidden, uniform, history))
            window = None if window is None else window[kept]
            for cache in caches:
                cache.keep(kept)
        first_code = token - model.semantic_begin_id
        codes = _draw_codes(model, hidden, first_code, code_ids, window, uniform, sampling)
        for i, frame_codes in zip(active, codes, strict=True):
            frames[i].append(frame_codes)
        if on_frame is not None:
            on_frame()
        if step + 1 == max_new_frames:
            break
        frame = torch.cat((token.unsqueeze(1), codes), dim=1)
        if step > 0:
            history[:, :, step - 1] = frame
        hidden = model.hidden_states(frame.unsqueeze(-1), caches=caches)[:, -1]
    empty = torch.empty(num_codebooks, 0, dtype=torch.int64, device=device)
    return [torch.stack(of_prompt, dim=-1) if of_prompt else empty for of_prompt in frames]


def _read_prompts(
    model: DualAR, prompts: Sequence[Tensor], *, num_more: int
) -> tuple[Tensor, list[KVCache]]:
    """Run each prompt alone, without padding. Return the last hidden states and joined caches."""
    hidden, prompt_caches = [], []
    for prompt in prompts:
        caches = [KVCache(prompt.shape[-1]) for _ in model.layers]
        hidden.append(model.hidden_states(prompt.long().unsqueeze(0), caches=caches)[:, -1])
        prompt_caches.append(caches)
    joined = [KVCache.join(layer, num_more) for layer in zip(*prompt_caches, strict=True)]
    return torch.cat(hidden), joined


def _draw_codes(
    model: DualAR,
    hidden: Tensor,
    first_code: Tensor,
    code_ids: Tensor,
    window: Tensor | None,
    uniform: Tensor,
    sampling: Sampling,
) -> Tensor:
    """Draw the codes of a frame one after another, ``(batch, num_codebooks)``.

    ``first_code`` is that of codebook 0, given by the semantic token.
    """
    caches = [KVCache(model.config.num_codebooks) for _ in model.fast_layers]
    codes = [first_code]
    # The logits of codebook 0 are not needed, so the first two places are computed together.
    places = torch.stack((hidden, model.fast_embeddings(first_code)), dim=1)
    for codebook in range(1, model.config.num_codebooks):
        logits = model.fast_logits(places, caches)[:, -1, : len(code_ids)]
        recent = None if window is None else window[:, 1 + codebook]
        code = draw(sampling, logits, code_ids, recent, uniform[:, codebook])
        codes.append(code)
        places = model.fast_embeddings(code).unsqueeze(1)
    return torch.stack(codes, dim=1)

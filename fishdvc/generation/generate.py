"""From prompts to the codes of speech, one frame after another, for several sequences at once.

Knows the model and the order in which a frame is drawn; neither text nor waveforms. Unlike the
reference implementation it keeps the first frame and not that of the end token, can draw nothing
but semantic tokens and the end, and attends over the tokens there are, not over the longest
sequence there could be.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fishdvc.errors import ParamsError, list_problems
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
    on_frame: Callable[[int], None] | None = None,
) -> list[Tensor]:
    """Continue prompts with frames of codes.

    Each sequence draws from its own random numbers and looks at its own tokens, so it gets the
    codes that it gets alone. (Matrix products of another number of rows may round the last bit of
    a logit otherwise; a code changes by it only where the random number falls on the very edge
    between two.) Sequences that have ended leave the batch.

    Args:
        model: A ``DualAR``, or a PEFT model around one, in evaluation mode.
        prompts: Ids in row 0, codes below, each ``(1 + num_codebooks, tokens)``, on the model's
            device; their lengths may differ.
        seeds: One for each prompt.
        max_new_frames: Where to stop at the latest; a result of this length was cut short.
        sampling: How to draw.
        end_id: Id of the token that ends the speech; None goes on to ``max_new_frames``.
        num_codes: How many codes per codebook the codec knows; those from here on are not drawn.
            None allows all that the model knows.
        on_frame: Called with the number of frames so far, after each.

    Returns:
        int64 codes of each, ``(num_codebooks, frames)``.

    Raises:
        ParamsError: A setting is out of range, or a prompt and its frames exceed the model's
            ``max_seq_len``; all problems are named.
    """
    num_codes = model.config.codebook_size if num_codes is None else num_codes
    _check(model, prompts, seeds, max_new_frames, sampling, num_codes)
    device = prompts[0].device
    code_ids = torch.arange(num_codes, device=device)
    token_ids = model.semantic_begin_id + code_ids
    if end_id is not None:
        token_ids = torch.cat((token_ids, token_ids.new_tensor([end_id])))
    num_codebooks = model.config.num_codebooks
    # On the CPU, so that a seed gives the same speech on every device.
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    frames: list[list[Tensor]] = [[] for _ in prompts]
    going = list(range(len(prompts)))

    # The last frame is drawn, not read.
    hidden, caches = _read_prompts(model, prompts, num_more=max_new_frames - 1)
    fast_caches = [KVCache(num_codebooks) for _ in model.fast_layers]
    # Ids in row 0, codes below. The first frame never enters: so it is in the reference
    # implementation, and the penalties that follow depend on it.
    num_places = max(PENALTY_WINDOW_FRAMES, max_new_frames)
    history = torch.zeros(
        len(prompts), 1 + num_codebooks, num_places, dtype=torch.int64, device=device
    )
    for step in range(max_new_frames):
        drawn = [torch.rand(num_codebooks, generator=generators[i]) for i in going]
        uniform = torch.stack(drawn).to(device)
        window = penalty_window(history, step - 1) if step > 0 else None
        logits = model.token_logits(hidden)[:, token_ids]
        of_tokens = None if window is None else window[:, 0]
        token = draw(sampling, logits, token_ids, of_tokens, uniform[:, 0])
        if end_id is not None and bool((token == end_id).any()):
            left = (token != end_id).nonzero().squeeze(1)
            going = [going[i] for i in left.tolist()]
            if not going:
                break
            token, hidden, uniform, history = (x[left] for x in (token, hidden, uniform, history))
            window = None if window is None else window[left]
            for cache in caches:
                cache.keep(left)
            fast_caches = [KVCache(num_codebooks) for _ in model.fast_layers]
        first_code = token - model.semantic_begin_id
        codes = _draw_codes(
            model, hidden, first_code, code_ids, window, uniform, fast_caches, sampling
        )
        for i, of_sequence in zip(going, codes, strict=True):
            frames[i].append(of_sequence)
        if on_frame is not None:
            on_frame(step + 1)
        if step + 1 == max_new_frames:
            break
        frame = torch.cat((token.unsqueeze(1), codes), dim=1)
        if step > 0:
            history[:, :, step - 1] = frame
        hidden = model.hidden_states(frame.unsqueeze(-1), caches=caches)[:, -1]
    nothing = torch.empty(num_codebooks, 0, dtype=torch.int64, device=device)
    return [torch.stack(of_prompt, dim=-1) if of_prompt else nothing for of_prompt in frames]


def _check(
    model: DualAR,
    prompts: Sequence[Tensor],
    seeds: Sequence[int],
    max_new_frames: int,
    sampling: Sampling,
    num_codes: int,
) -> None:
    config = model.config
    problems = sampling.problems()
    if not prompts:
        problems.append("prompts: at least one expected, got none")
    if len(seeds) != len(prompts):
        problems.append(f"seeds: one for each of {len(prompts)} prompts expected, got {len(seeds)}")
    if max_new_frames < 1:
        problems.append(f"max_new_frames: at least 1 expected, got {max_new_frames}")
    if not 1 <= num_codes <= config.codebook_size:
        problems.append(f"num_codes: 1..{config.codebook_size} expected, got {num_codes}")
    longest = max((prompt.shape[-1] for prompt in prompts), default=0)
    if longest + max_new_frames > config.max_seq_len:
        problems.append(
            f"max_new_frames: {longest} tokens of prompt and {max_new_frames} frames exceed "
            f"max_seq_len = {config.max_seq_len}; shorten the reference or the text, "
            "or allow fewer frames"
        )
    if problems:
        raise ParamsError(list_problems("generate: cannot start", problems))


def _read_prompts(
    model: DualAR, prompts: Sequence[Tensor], *, num_more: int
) -> tuple[Tensor, list[KVCache]]:
    """Run each prompt alone, without padding, and put what is remembered of them together.

    Returns:
        States after the last tokens, ``(batch, dim)``, and a cache for each layer.
    """
    hidden, of_prompts = [], []
    for prompt in prompts:
        caches = [KVCache(prompt.shape[-1]) for _ in model.layers]
        hidden.append(model.hidden_states(prompt.long().unsqueeze(0), caches=caches)[:, -1])
        of_prompts.append(caches)
    joined = [KVCache.join(layer, num_more) for layer in zip(*of_prompts, strict=True)]
    return torch.cat(hidden), joined


def _draw_codes(
    model: DualAR,
    hidden: Tensor,
    first_code: Tensor,
    code_ids: Tensor,
    window: Tensor | None,
    uniform: Tensor,
    caches: Sequence[KVCache],
    sampling: Sampling,
) -> Tensor:
    """Draw the codes of a frame after the first, each given those before it.

    Args:
        model: The model.
        hidden: State of the slow transformer, ``(batch, dim)``.
        first_code: Code of codebook 0, which the main token gives, ``(batch,)``.
        code_ids: The codes that may be drawn, ``(choices,)``.
        window: For the penalty, ``(batch, 1 + num_codebooks, 16)``, or None.
        uniform: What decides, ``(batch, num_codebooks)``.
        caches: Of the fast transformer; cleared here.
        sampling: How to draw.

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
        code = draw(sampling, logits, code_ids, recent, uniform[:, codebook])
        codes.append(code)
        places = model.fast_embeddings(code).unsqueeze(1)
    return torch.stack(codes, dim=1)

"""Continue prompts with frames of codes, many sequences at once.

Differences from the reference implementation: the result holds the first frame and not that of the
end token; only semantic tokens and the end token are drawn; attention reads the tokens so far, not
``max_seq_len`` slots.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fishdvc.errors import ParamsError
from fishdvc.generation.batch import Batch
from fishdvc.generation.graphs import GraphedFunction, uses_cuda_graphs
from fishdvc.generation.settings import Sampling
from fishdvc.model.dual_ar import DualAR

MAX_BATCH_SIZE = 64
_MIN_SLOTS = 64
_STEPS_PER_CHECK = 16
"""Steps on CUDA between two checks for the end token. A check waits for the GPU."""
_PROMPT_TOKENS_PER_PASS = 16_384
"""Prompts that are read together on CUDA have at most this many tokens, padding included."""


class Generator:
    """Generates codes with one model and one set of sampling settings.

    Keeps its memory and CUDA graphs between calls.

    Args:
        model: In evaluation mode, without adapters of PEFT. Its weights may be changed in place
            between two calls.
        sampling: Sampling settings.
        end_id: Id of the token that ends the speech. None: generate ``max_new_frames`` frames.
        num_codes: Codes from this number on are not drawn, because the codec does not have them. At
            most the model's ``codebook_size``, which is the default.
        batch_size: Largest number of sequences that are generated at the same time, a power of two.
    """

    def __init__(
        self,
        model: DualAR,
        *,
        sampling: Sampling,
        end_id: int | None,
        num_codes: int | None = None,
        batch_size: int = MAX_BATCH_SIZE,
    ) -> None:
        self.model, self.sampling, self.end_id = model, sampling, end_id
        self.num_codes = num_codes or model.config.codebook_size
        self.batch_size = batch_size
        self._batch: Batch | None = None
        self._step: GraphedFunction | None = None

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Tensor],
        *,
        seeds: Sequence[int],
        max_new_frames: int | Sequence[int],
        on_frame: Callable[[], object] | None = None,
    ) -> list[Tensor]:
        """Continue prompts with frames of codes.

        Each sequence has its own random numbers and attends to its own tokens, so a batch gives the
        codes that each prompt gives alone. (Matrix products of another batch size may round the
        last bit of a logit differently. This changes a code only if its random number lies exactly
        on the boundary between two choices.) When a sequence has ended, a waiting one takes its
        row in the batch.

        Args:
            prompts: Ids in row 0, codes below, each ``(1 + num_codebooks, tokens)``, on the CPU.
                Their lengths may differ.
            seeds: One for each prompt. A seed gives the same random numbers on every device.
            max_new_frames: Maximum number of frames, at least 1, of all or of each. A result of
                this length has not ended by itself.
            on_frame: Called after each step, which adds a frame to each sequence of the batch.

        Returns:
            int64 codes of each prompt, ``(num_codebooks, frames)``, on the CPU.

        Raises:
            ParamsError: A prompt and its frames exceed the model's ``max_seq_len``.
        """
        limits = max_new_frames
        if isinstance(limits, int):
            limits = [limits] * len(prompts)
        max_new_frames = max(limits)
        num_slots, longest, limit = max(
            (prompt.shape[-1] + limit, prompt.shape[-1], limit)
            for prompt, limit in zip(prompts, limits, strict=True)
        )
        if num_slots > self.model.config.max_seq_len:
            raise ParamsError(
                f"{longest} tokens of prompt and {limit} frames exceed max_seq_len = "
                f"{self.model.config.max_seq_len}; shorten the reference or the text, or reduce "
                "the maximum length (--max-part-s)"
            )
        batch = self._allocate(len(prompts), num_slots, max_new_frames)
        waiting = deque(range(len(prompts)))
        rows: list[_Row] = []
        codes: dict[int, Tensor] = {}
        while waiting or rows:
            new = [waiting.popleft() for _ in range(min(len(waiting), batch.num_rows - len(rows)))]
            self._start(batch, len(rows), [(prompts[i], seeds[i]) for i in new], max_new_frames)
            rows += [_Row(i, prompts[i].shape[-1], limits[i]) for i in new]
            self._run_steps(batch, rows, on_frame)
            ended = self._take_ended(batch, rows)
            codes |= {rows[row].prompt: frames for row, frames in ended.items()}
            rows = _remove(batch, rows, list(ended))
        return [codes[i] for i in range(len(prompts))]

    def _allocate(self, num_sequences: int, num_slots: int, max_frames: int) -> Batch:
        """Return a batch that is large enough: the existing one or a new one."""
        size: tuple[int, ...] = (
            _round_up(min(num_sequences, self.batch_size), 1),
            _round_up(num_slots, _MIN_SLOTS),
            # Rows without a sequence run for up to this number of steps.
            max(max_frames, _STEPS_PER_CHECK),
        )
        if self._batch is not None:
            existing = (self._batch.num_rows, self._batch.num_slots, self._batch.max_frames)
            size = tuple(map(max, size, existing))
            if size == existing:
                return self._batch
        # Free the memory of the existing batch before a new one is allocated.
        self._batch = self._step = None
        self._batch = Batch(
            self.model,
            *size,
            sampling=self.sampling,
            end_id=self.end_id,
            num_codes=self.num_codes,
        )
        self._step = GraphedFunction(self._batch.step, self._batch.device)
        return self._batch

    def _start(
        self, batch: Batch, first_row: int, new: Sequence[tuple[Tensor, int]], max_new_frames: int
    ) -> None:
        """Start sequences in the rows from ``first_row`` on, given prompts and seeds."""
        num_codebooks = self.model.config.num_codebooks
        while new:
            longest, num_prompts = 0, 0
            for prompt, _ in new:
                longest = max(longest, prompt.shape[-1])
                if longest * (num_prompts + 1) > _PROMPT_TOKENS_PER_PASS and num_prompts:
                    break
                num_prompts += 1
            # On a CPU, each prompt alone is as fast, and gets exactly the same codes in each batch.
            group = new[:num_prompts] if uses_cuda_graphs(batch.device) else new[:1]
            # Random numbers come from the CPU, so that they are the same for every device.
            generators = [torch.Generator().manual_seed(seed) for _, seed in group]
            uniform = [torch.rand(max_new_frames, num_codebooks, generator=g) for g in generators]
            rows = range(first_row, first_row + len(group))
            batch.start(rows, [prompt for prompt, _ in group], torch.stack(uniform))
            first_row, new = first_row + len(group), new[len(group) :]

    def _run_steps(
        self,
        batch: Batch,
        rows: Sequence["_Row"],
        on_frame: Callable[[], object] | None,
    ) -> None:
        """Add frames to all sequences, until one may have ended."""
        assert self._step is not None
        num_rows, num_steps = len(rows), 1
        if uses_cuda_graphs(batch.device):
            # Rounded up, so that few graphs are captured.
            num_rows = _round_up(len(rows), 1)
            batch.clear_rows(len(rows))
            num_steps = min(_STEPS_PER_CHECK, *(row.max_frames - row.num_frames for row in rows))
        for _ in range(num_steps):
            num_tokens = max(row.prompt_length + row.num_frames for row in rows)
            self._step(num_rows, _round_up(num_tokens + 1, _MIN_SLOTS))
            for row in rows:
                row.num_frames += 1
            if on_frame is not None:
                on_frame()

    def _take_ended(self, batch: Batch, rows: Sequence["_Row"]) -> dict[int, Tensor]:
        """Return the codes of sequences that have ended, ``(num_codebooks, frames)``, by row."""
        ids = batch.frames[: len(rows), :, 0].tolist()
        ended = {}
        for row, state in enumerate(rows):
            row_ids = ids[row][: state.num_frames]
            if self.end_id in row_ids or state.num_frames == state.max_frames:
                num_frames = row_ids.index(self.end_id) if self.end_id in row_ids else len(row_ids)
                ended[row] = batch.frames[row, :num_frames, 1:].T.cpu().clone()
        return ended


@dataclass
class _Row:
    """A row of a batch: index and length of its prompt, and its largest and current length."""

    prompt: int
    prompt_length: int
    max_frames: int
    num_frames: int = 0


def _remove(batch: Batch, rows: list[_Row], ended: Sequence[int]) -> list[_Row]:
    """Remove rows, and fill the gaps with the last rows."""
    num_kept = len(rows) - len(ended)
    gaps = [row for row in ended if row < num_kept]
    sources = [row for row in range(num_kept, len(rows)) if row not in ended]
    if gaps:
        batch.copy_rows(sources, gaps)
    for gap, source in zip(gaps, sources, strict=True):
        rows[gap] = rows[source]
    return rows[:num_kept]


def _round_up(number: int, minimum: int) -> int:
    """Return the next power of two that is at least ``number`` and ``minimum``."""
    return 1 << (max(number, minimum) - 1).bit_length()

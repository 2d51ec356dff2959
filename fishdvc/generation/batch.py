"""A batch of sequences that are generated together, in tensors at fixed addresses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fishdvc.generation.sampling import PENALTY_WINDOW_FRAMES, draw
from fishdvc.generation.settings import Sampling
from fishdvc.model.dual_ar import DualAR
from fishdvc.model.kv_cache import BatchCache, KVCache
from fishdvc.model.layers import Unpadding

_NO_ID = -1
"""Marks an entry without an id or code. No choice has this id."""


class Batch:
    """Sequences in the rows of a batch, and the step that adds a frame to each of them.

    A step has the same shapes at every position, and the host reads nothing in it. Each sequence
    has its own random numbers and attends to its own tokens only.

    Args:
        model: In evaluation mode.
        num_rows: Largest number of sequences.
        num_slots: Largest number of tokens of a sequence, prompt and frames.
        max_frames: Largest number of frames of a sequence.
        sampling: Sampling settings.
        end_id: Id of the token that ends the speech; None: the token is not drawn.
        num_codes: Codes from this number on are not drawn.
    """

    def __init__(
        self,
        model: DualAR,
        num_rows: int,
        num_slots: int,
        max_frames: int,
        *,
        sampling: Sampling,
        end_id: int | None,
        num_codes: int,
    ) -> None:
        config, weight = model.config, model.fast_norm.weight
        self.model, self.sampling, self.num_codes = model, sampling, num_codes
        self.num_rows, self.num_slots, self.max_frames = num_rows, num_slots, max_frames
        self.device = weight.device
        self.cache = BatchCache(
            config.n_layer,
            num_rows,
            config.n_local_heads,
            num_slots,
            config.dim // config.n_head,
            dtype=weight.dtype,
            device=self.device,
        )
        self._hidden = torch.zeros(num_rows, config.dim, dtype=weight.dtype, device=self.device)
        self._prompt_lengths = self._integers(num_rows)
        self._uniform = torch.zeros(num_rows, max_frames, config.num_codebooks, device=self.device)
        # Ids in column 0, codes in the others.
        self.frames = self._integers(num_rows, max_frames, 1 + config.num_codebooks)
        self._recent = self._integers(num_rows, 1 + config.num_codebooks, PENALTY_WINDOW_FRAMES)
        codes = torch.arange(num_codes)
        self._choices = torch.full((1 + config.num_codebooks, num_codes + 1), _NO_ID - 1)
        self._choices[:, :-1] = codes
        self._choices[0, :-1] += model.semantic_begin_id
        if end_id is not None:
            self._choices[0, -1] = end_id
        self._choices = self._choices.to(self.device)
        self._num_token_choices = num_codes + (end_id is not None)

    def _integers(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    def start(self, rows: Sequence[int], prompts: Sequence[Tensor], uniform: Tensor) -> None:
        """Start sequences: run the slow transformer over their prompts.

        Args:
            rows: Row of each sequence.
            prompts: Ids in row 0, codes below, each ``(1 + num_codebooks, tokens)``.
            uniform: Random numbers in [0, 1), ``(sequences, frames, num_codebooks)``.
        """
        lengths = torch.tensor([prompt.shape[-1] for prompt in prompts])
        longest = int(lengths.max())
        inputs = torch.zeros(len(prompts), len(prompts[0]), longest, dtype=torch.int64)
        for row, prompt in zip(inputs, prompts, strict=True):
            row[:, : prompt.shape[-1]] = prompt
        padding_mask = torch.arange(longest) >= lengths.unsqueeze(1)
        caches = [KVCache(longest) for _ in self.model.layers]
        hidden = self.model.hidden_states(
            inputs.to(self.device),
            Unpadding.of(padding_mask.to(self.device)) if padding_mask.any() else None,
            caches,
        )
        where = torch.tensor(rows, device=self.device)
        lengths = lengths.to(self.device)
        self._hidden[where] = hidden[torch.arange(len(rows), device=self.device), lengths - 1]
        self.cache.fill(where, caches, lengths)
        self._prompt_lengths[where] = lengths
        self._uniform[where, : uniform.shape[1]] = uniform.to(self.device)
        self.frames[where] = _NO_ID
        # The first frame is drawn without a penalty.
        self._recent[where] = _NO_ID

    def copy_rows(self, sources: Sequence[int], destinations: Sequence[int]) -> None:
        """Copy sequences to other rows."""
        source = torch.tensor(sources, device=self.device)
        destination = torch.tensor(destinations, device=self.device)
        self.cache.copy_rows(source, destination)
        for tensor in (
            self._hidden,
            self._prompt_lengths,
            self._uniform,
            self.frames,
            self._recent,
        ):
            tensor[destination] = tensor[source]

    def clear_rows(self, first: int) -> None:
        """Move the rows from ``first`` on, which hold no sequence, back to position 0."""
        self.cache.positions[first:] = 0
        self._prompt_lengths[first:] = 0

    def step(self, num_rows: int, num_slots: int) -> None:
        """Add a frame to each of the first ``num_rows`` sequences, and read it.

        Args:
            num_rows: Number of rows.
            num_slots: Slots to attend to, more than every position of these sequences.
        """
        positions = self.cache.positions[:num_rows]
        rows = torch.arange(num_rows, device=self.device)
        indices = positions - self._prompt_lengths[:num_rows]
        uniform = self._uniform[rows, indices]
        recent = self._recent[:num_rows]
        is_recent = (recent.unsqueeze(2) == self._choices.unsqueeze(-1)).any(-1)
        penalties = torch.where(is_recent, self.sampling.repetition_penalty, 1.0)

        frame = self._draw_frame(self._hidden[:num_rows], penalties, uniform)
        self.frames[rows, indices] = frame
        # The first frame is not added, and empty entries count as id and code 0, as in the
        # reference implementation.
        recent[rows, :, (indices - 1) % PENALTY_WINDOW_FRAMES] = frame
        recent *= (indices > 0)[:, None, None]
        self._hidden[:num_rows] = self.model.next_hidden_states(frame, self.cache, num_slots)
        positions += 1

    def _draw_frame(self, hidden: Tensor, penalties: Tensor, uniform: Tensor) -> Tensor:
        """Draw the id of a frame, then its codes one after another, ``(rows, 1 + codebooks)``."""
        model, num_codes = self.model, self.num_codes
        token_ids = self._choices[0, : self._num_token_choices]
        logits = model.logits_of(token_ids, hidden)
        token_penalties = penalties[:, 0, : self._num_token_choices]
        choice = draw(self.sampling, logits, token_penalties, uniform[:, 0])
        # The codes of the end token are not used, but must be valid.
        code = choice.clamp(max=num_codes - 1)
        frame = [token_ids[choice], code]
        caches = [KVCache(model.config.num_codebooks) for _ in model.fast_layers]
        # The logits of codebook 0 are not needed, so the first two positions are computed together.
        inputs = torch.stack((hidden, model.fast_embeddings(code)), dim=1)
        for codebook in range(1, model.config.num_codebooks):
            logits = model.fast_logits(inputs, caches)[:, -1, :num_codes]
            code_penalties = penalties[:, 1 + codebook, :num_codes]
            code = draw(self.sampling, logits, code_penalties, uniform[:, codebook])
            frame.append(code)
            inputs = model.fast_embeddings(code).unsqueeze(1)
        return torch.stack(frame, dim=1)

"""Settings of generation and their ranges."""

import math
from dataclasses import dataclass

from fishdvc.errors import ParamsError, list_problems

MAX_PART_S = 30.0
"""Default of the longest speech of one part of a text, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings to sample token ids and codes. The defaults are the reference implementation's.

    Attributes:
        temperature: Above 0. Values below 1 sharpen the distribution.
        top_p: Probability of the nucleus, above 0 and at most 1.
        repetition_penalty: Above 0. Positive logits of ids in the last 16 frames are divided by
            it. 1 disables the penalty.

    Raises:
        ParamsError: Values are out of range. The message lists every problem.
    """

    temperature: float = 0.7
    top_p: float = 0.7
    repetition_penalty: float = 1.2

    def __post_init__(self) -> None:
        problems = [
            f"{name}: expected a finite number above 0, got {value}"
            for name, value in vars(self).items()
            if not 0 < value < math.inf
        ]
        if 1 < self.top_p < math.inf:
            problems.append(f"top_p: expected at most 1, got {self.top_p}")
        if problems:
            raise ParamsError(list_problems("sampling: correct these values", problems))

"""What may be chosen about generation, and in which range. Starts without torch."""

import math
from dataclasses import dataclass

MAX_PART_S = 30.0
"""Longest speech of one part of a text, in seconds, unless another is asked for."""
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How every id and code is drawn; the defaults are the reference implementation's.

    Attributes:
        temperature: Above 0; below 1 sharpens.
        top_p: Probability of the nucleus, above 0, at most 1.
        repetition_penalty: Divides the positive logits of ids in the last 16 frames; 1 is none.
    """

    temperature: float = 0.7
    top_p: float = 0.7
    repetition_penalty: float = 1.2

    def problems(self) -> list[str]:
        """List the settings that are out of range."""
        problems = []
        if not 0 < self.temperature < math.inf:
            problems.append(f"temperature: above 0 expected, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            problems.append(f"top_p: above 0 and at most 1 expected, got {self.top_p}")
        if not 0 < self.repetition_penalty < math.inf:
            problems.append(f"repetition_penalty: above 0 expected, got {self.repetition_penalty}")
        return problems

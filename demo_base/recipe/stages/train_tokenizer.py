"""Learn byte pairs from the texts, and number the special tokens after them.

Byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909) within the words into
which the tokenizer of fish-speech splits a text.
"""

import base64
import json
from collections import Counter
from itertools import pairwise

import regex  # type: ignore[import-untyped]
from pydantic import Field

from demo_base.recipe import paths
from fishdvc.params import read_params
from fishdvc.text.prompt import SYSTEM_TEXT
from fishdvc.text.tokenizer import PRE_TOKEN_PATTERN, RANKS_FILE, SPECIAL_TOKENS_FILE
from fishdvc.validation import Checked

SPECIAL_TOKENS = (
    *("begin_of_text", "end_of_text", "pad", "im_start", "im_end"),
    *(f"placeholder:{i}" for i in range(4)),
    *("text", "voice", "interleave"),
)
NUM_SEMANTIC = 1024
PROMPT_WORDS = f"system\n{SYSTEM_TEXT}user\nassistant\n"
"""Words of the prompt around every text, counted as often as the texts."""


class TokenizerParams(Checked):
    """Section ``tokenizer`` of params.yaml."""

    num_ranks: int = Field(description="Number of tokens: all bytes, then merged pairs.", ge=256)


def learn_ranks(text: str, num_ranks: int) -> list[bytes]:
    """Merge the most frequent pair of neighbours repeatedly; of equal pairs the smallest."""
    words = Counter(match[0] for match in regex.finditer(PRE_TOKEN_PATTERN, text))
    split = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    ranks = [bytes([byte]) for byte in range(256)]
    while len(ranks) < num_ranks:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        best = max(sorted(pairs), key=pairs.__getitem__)
        ranks.append(b"".join(best))
        for word, parts in split.items():
            split[word] = merge_pair(parts, best)
    return ranks


def merge_pair(parts: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Join every occurrence of a pair of neighbours, from left to right."""
    merged: list[bytes] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] = b"".join(pair)
        else:
            merged.append(part)
    return merged


def main() -> None:
    """Write ``tokenizer.tiktoken`` and ``special_tokens.json``."""
    params = read_params(paths.PARAMS, "tokenizer", TokenizerParams)
    texts = (paths.TEXTS / "train.txt").read_text()
    ranks = learn_ranks(texts.replace("\n", f"\n{PROMPT_WORDS}"), params.num_ranks)
    names = [*SPECIAL_TOKENS, *(f"semantic:{code}" for code in range(NUM_SEMANTIC))]
    special_tokens = {f"<|{name}|>": len(ranks) + i for i, name in enumerate(names)}
    paths.TOKENIZER.mkdir(parents=True, exist_ok=True)
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(ranks)]
    (paths.TOKENIZER / RANKS_FILE).write_text("".join(lines))
    (paths.TOKENIZER / SPECIAL_TOKENS_FILE).write_text(json.dumps(special_tokens, indent=2))
    print(f"train_tokenizer: {len(ranks)} ranks")


if __name__ == "__main__":
    main()

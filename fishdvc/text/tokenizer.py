"""The byte-pair tokenizer of a fish-speech model folder: text to token ids and back.

Reads ``tokenizer.tiktoken`` (the ranks) and ``special_tokens.json`` (the special tokens). Every id
comes from these files: neither the number of semantic tokens nor what stands before them is
assumed. Knows nothing of prompts or codes.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tiktoken

from fishdvc.errors import CheckpointError, list_problems

RANKS_FILE = "tokenizer.tiktoken"
SPECIAL_TOKENS_FILE = "special_tokens.json"

# Where a text may be cut before byte pairs are merged. `(\?!\S)` is a slip of the reference
# implementation for a negative look-ahead; the published model was trained with it, so it stays.
PRE_TOKEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|\p{P}"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(\?!\S)"
    r"|\s+"
)
# Longer texts are encoded in slices of this many characters, which may part a word at the seam.
MAX_SLICE_CHARACTERS = 400_000

END_OF_TEXT = "<|end_of_text|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
VOICE = "<|voice|>"


class Tokenizer:
    """Text to token ids and back, by byte-pair merging (Sennrich et al., 2016, arXiv:1508.07909).

    Attributes:
        special_tokens: Spelling to id of every special token.
        num_ids: Number of ids that have a meaning; the model's vocabulary may be larger.
        end_of_text_id: Id of ``<|end_of_text|>``, which fills the padding of row 0.
        im_start_id: Id of ``<|im_start|>``, which opens a turn.
        im_end_id: Id of ``<|im_end|>``, which closes a turn.
        voice_id: Id of ``<|voice|>``, which opens speech.
        semantic_begin_id: Id of ``<|semantic:0|>``; ``<|semantic:k|>`` is this plus ``k``.
        num_semantic: Number of semantic tokens.
    """

    def __init__(self, ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> None:
        self.special_tokens = dict(special_tokens)
        self.num_ids = len(ranks) + len(special_tokens)
        self.end_of_text_id = special_tokens[END_OF_TEXT]
        self.im_start_id = special_tokens[IM_START]
        self.im_end_id = special_tokens[IM_END]
        self.voice_id = special_tokens[VOICE]
        self.semantic_begin_id = special_tokens[_semantic_token(0)]
        self.num_semantic = _num_semantic(special_tokens)
        self._encoding = tiktoken.Encoding(
            name="fish-speech",
            pat_str=PRE_TOKEN_PATTERN,
            mergeable_ranks=dict(ranks),
            special_tokens=self.special_tokens,
        )

    def encode(self, text: str) -> list[int]:
        """Encode a text in which the spelling of a special token means that token.

        For text of our own only; what a user wrote goes through ``encode_plain``.
        """
        ids: list[int] = []
        for part in _slices(text):
            ids += self._encoding.encode(part, allowed_special="all", disallowed_special=())
        return ids

    def encode_plain(self, text: str) -> list[int]:
        """Encode a user's text: never yields a special id, whatever the text spells."""
        ids: list[int] = []
        for part in _slices(text):
            ids += self._encoding.encode_ordinary(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Decode token ids, special ones to their spelling, broken UTF-8 to U+FFFD.

        Raises:
            KeyError: An id has no meaning.
        """
        return str(self._encoding.decode([int(token_id) for token_id in ids]))


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer of a model folder.

    Raises:
        CheckpointError: A file is missing or damaged, or the two do not belong together.
    """
    ranks_path = Path(folder) / RANKS_FILE
    special_tokens_path = Path(folder) / SPECIAL_TOKENS_FILE
    ranks = _read_ranks(ranks_path)
    special_tokens = _read_special_tokens(special_tokens_path)
    if problems := list(_special_token_problems(special_tokens, num_ranks=len(ranks))):
        summary = f"{special_tokens_path}: does not fit {RANKS_FILE} beside it; fetch both anew"
        raise CheckpointError(list_problems(summary, problems))
    return Tokenizer(ranks, special_tokens)


def _slices(text: str) -> Iterator[str]:
    for start in range(0, len(text), MAX_SLICE_CHARACTERS):
        yield text[start : start + MAX_SLICE_CHARACTERS]


def _semantic_token(code: int) -> str:
    return f"<|semantic:{code}|>"


def _num_semantic(special_tokens: Mapping[str, int]) -> int:
    return sum(token.startswith("<|semantic:") for token in special_tokens)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: a file of the base model, got {error.strerror}; fetch the base model anew"
        ) from error


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Read the lines ``base64 rank``.

    A token spelled as a lone ``=`` is skipped: some published files hold one for an empty token.
    """
    ranks: dict[bytes, int] = {}
    problems = []
    for number, line in enumerate(_read_bytes(path).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] == b"=":
            continue
        try:
            token, rank = base64.b64decode(fields[0], validate=True), int(fields[1])
        except (binascii.Error, IndexError, ValueError):
            problems.append(f"line {number}: a base64 token and its rank, got {line[:60]!r}")
            continue
        if len(fields) > 2:
            problems.append(f"line {number}: two fields, got {len(fields)}")
        elif token in ranks:
            problems.append(f"line {number}: token {token!r} once, got it a second time")
        elif rank != len(ranks):
            problems.append(f"line {number}: rank {len(ranks)}, got {rank}")
        ranks[token] = rank
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        problems.append(f"a token for each of the 256 bytes, got none for {len(missing)} of them")
    if problems:
        summary = f"{path}: not the ranks of a tokenizer; fetch the base model anew"
        raise CheckpointError(list_problems(summary, problems))
    return ranks


def _read_special_tokens(path: Path) -> dict[str, int]:
    try:
        content = json.loads(_read_bytes(path).decode("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: JSON, got {error}; fetch the base model anew") from error
    if not isinstance(content, dict) or not all(type(i) is int for i in content.values()):
        raise CheckpointError(
            f"{path}: a JSON object of tokens and whole-number ids, got something else; "
            "fetch the base model anew"
        )
    return content


def _special_token_problems(special_tokens: Mapping[str, int], num_ranks: int) -> Iterator[str]:
    """Tell what keeps the special tokens from following the ranks without a gap."""
    for token in (END_OF_TEXT, IM_START, IM_END, VOICE, _semantic_token(0)):
        if token not in special_tokens:
            yield f"{token}: an id, got none"
    owners: dict[int, str] = {}
    end = num_ranks + len(special_tokens)
    for token, token_id in special_tokens.items():
        if not num_ranks <= token_id < end:
            yield f"{token}: an id in {num_ranks}..{end - 1} (after the ranks), got {token_id}"
        elif token_id in owners:
            yield f"{token}: an id of its own, got {token_id}, that of {owners[token_id]}"
        owners[token_id] = token
    begin = special_tokens.get(_semantic_token(0), 0)
    for code in range(_num_semantic(special_tokens)):
        token = _semantic_token(code)
        if special_tokens.get(token) != begin + code:
            yield f"{token}: id {begin + code}, got {special_tokens.get(token)}"

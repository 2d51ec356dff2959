"""The byte-pair tokenizer of a fish-speech model folder.

All ids come from its files ``tokenizer.tiktoken`` (ranks) and ``special_tokens.json``.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import tiktoken
from pydantic import StrictInt, TypeAdapter, ValidationError

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.storage.small_files import read_small_file

RANKS_FILE = "tokenizer.tiktoken"
SPECIAL_TOKENS_FILE = "special_tokens.json"
MAX_FILE_BYTES = 10**7
"""Several times the size of the published files."""

# Texts are split by this pattern before byte pairs are merged. `(\?!\S)` should be a negative
# look-ahead, but the published model was trained with this error.
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
# Longer texts are encoded in slices of this many characters. A slice may end within a word.
MAX_SLICE_CHARACTERS = 400_000

END_OF_TEXT = "<|end_of_text|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
VOICE = "<|voice|>"
FIRST_SEMANTIC = "<|semantic:0|>"
_REMEDY = "fetch the base model again"


class Tokenizer:
    """Converts text to token ids and back (Sennrich et al., 2016, arXiv:1508.07909).

    Attributes:
        special_tokens: Id of each special token by its spelling.
        num_ids: Number of ids in use. The model's vocabulary may be larger.
        end_of_text_id: Id of ``<|end_of_text|>``, the padding of row 0.
        im_start_id: Id of ``<|im_start|>``, the start of a turn.
        im_end_id: Id of ``<|im_end|>``, the end of a turn.
        voice_id: Id of ``<|voice|>``, the start of speech.
        semantic_begin_id: Id of ``<|semantic:0|>``. ``<|semantic:k|>`` has this id plus ``k``.
        num_semantic: Number of semantic tokens.
    """

    def __init__(self, ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> None:
        self.special_tokens = dict(special_tokens)
        self.num_ids = len(ranks) + len(special_tokens)
        self.end_of_text_id = special_tokens[END_OF_TEXT]
        self.im_start_id = special_tokens[IM_START]
        self.im_end_id = special_tokens[IM_END]
        self.voice_id = special_tokens[VOICE]
        self.semantic_begin_id = semantic_ids(special_tokens)[0]
        self.num_semantic = len(semantic_ids(special_tokens))
        self._encoding = tiktoken.Encoding(
            name="fish-speech",
            pat_str=PRE_TOKEN_PATTERN,
            mergeable_ranks=dict(ranks),
            special_tokens=self.special_tokens,
        )

    def encode(self, text: str) -> list[int]:
        """Encode a text and recognize special tokens. For user input use ``encode_plain``."""
        return [
            token_id
            for part in _slices(text)
            for token_id in self._encoding.encode(part, allowed_special="all")
        ]

    def encode_plain(self, text: str) -> list[int]:
        """Encode a text without special tokens. If the text spells one, it is plain text."""
        parts = map(self._encoding.encode_ordinary, _slices(text))
        return list(chain.from_iterable(parts))

    def decode(self, ids: Iterable[int]) -> str:
        """Decode token ids. Invalid UTF-8 becomes U+FFFD.

        Raises:
            KeyError: An id is unknown.
        """
        return str(self._encoding.decode([int(token_id) for token_id in ids]))


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer of a model folder.

    Raises:
        CheckpointError: A file is missing or damaged, or the two files do not fit together.
    """
    ranks_path = Path(folder) / RANKS_FILE
    special_tokens_path = Path(folder) / SPECIAL_TOKENS_FILE
    ranks = _read_ranks(ranks_path)
    special_tokens = read_special_tokens(special_tokens_path)
    if problems := list(_special_token_problems(special_tokens, num_ranks=len(ranks))):
        summary = f"{special_tokens_path}: does not fit {RANKS_FILE}; {_REMEDY}"
        raise CheckpointError(list_problems(summary, problems))
    return Tokenizer(ranks, special_tokens)


def read_special_tokens(path: Path) -> dict[str, int]:
    """Read the id of each special token.

    Raises:
        CheckpointError: The file is missing or damaged, or the ids of ``<|semantic:0|>``,
            ``<|semantic:1|>``, ... are not consecutive.
    """
    try:
        special_tokens = TypeAdapter(dict[str, StrictInt]).validate_json(_read_bytes(path))
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: expected a JSON object of tokens and integer ids, got "
            f"{error.errors()[0]['msg']}; {_REMEDY}"
        ) from error
    problems = [] if FIRST_SEMANTIC in special_tokens else [f"{FIRST_SEMANTIC}: missing"]
    for code, expected in enumerate(semantic_ids(special_tokens)):
        got = special_tokens.get(f"<|semantic:{code}|>")
        if got != expected:
            problems.append(f"<|semantic:{code}|>: expected id {expected}, got {got}")
    if problems:
        raise CheckpointError(list_problems(f"{path}: {_REMEDY}", problems))
    return special_tokens


def semantic_ids(special_tokens: Mapping[str, int]) -> range:
    """Return the ids of the semantic tokens, in the order of their codes."""
    begin = special_tokens.get(FIRST_SEMANTIC, 0)
    num_tokens = sum(token.startswith("<|semantic:") for token in special_tokens)
    return range(begin, begin + num_tokens)


def _slices(text: str) -> Iterator[str]:
    for start in range(0, len(text), MAX_SLICE_CHARACTERS):
        yield text[start : start + MAX_SLICE_CHARACTERS]


def _read_bytes(path: Path) -> bytes:
    try:
        return read_small_file(path, max_bytes=MAX_FILE_BYTES)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; {_REMEDY}") from error


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Read lines of ``<base64 token> <rank>``.

    A token ``=`` is skipped: some published files contain one as an empty token.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(_read_bytes(path).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] == b"=":
            continue
        try:
            encoded, rank = fields
            token = base64.b64decode(encoded, validate=True)
            valid = int(rank) == len(ranks) and token not in ranks
        except ValueError:
            valid = False
        if not valid:
            raise CheckpointError(
                f"{path}: line {number}: expected a new base64 token and rank {len(ranks)}, "
                f"got {line[:60]!r}; {_REMEDY}"
            )
        ranks[token] = len(ranks)
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise CheckpointError(
            f"{path}: expected a token for each of the 256 bytes, {len(missing)} are missing; "
            f"{_REMEDY}"
        )
    return ranks


def _special_token_problems(special_tokens: Mapping[str, int], num_ranks: int) -> Iterator[str]:
    for token in (END_OF_TEXT, IM_START, IM_END, VOICE):
        if token not in special_tokens:
            yield f"{token}: missing"
    tokens: dict[int, str] = {}
    end = num_ranks + len(special_tokens)
    for token, token_id in special_tokens.items():
        if not token:
            yield f"id {token_id}: an empty token"
        if not num_ranks <= token_id < end:
            yield f"{token}: expected an id in {num_ranks}..{end - 1}, got {token_id}"
        elif token_id in tokens:
            yield f"{token}: expected a unique id, got {token_id}, the id of {tokens[token_id]}"
        tokens[token_id] = token

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fishdvc.errors import CheckpointError
from fishdvc.text.tokenizer import MAX_SLICE_CHARACTERS, Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(assets: Path) -> Tokenizer:
    return load_tokenizer(assets / "text2semantic")


@pytest.fixture
def folder(assets: Path, tmp_path: Path) -> Path:
    for name in ("tokenizer.tiktoken", "special_tokens.json"):
        shutil.copy(assets / "text2semantic" / name, tmp_path / name)
    return tmp_path


def edit_special_tokens(folder: Path, edit: Callable[[dict[str, int]], object]) -> None:
    path = folder / "special_tokens.json"
    special_tokens = json.loads(path.read_text(encoding="utf-8"))
    edit(special_tokens)
    path.write_text(json.dumps(special_tokens), encoding="utf-8")


def edit_ranks(folder: Path, edit: Callable[[list[str]], object]) -> None:
    path = folder / "tokenizer.tiktoken"
    lines = path.read_text(encoding="ascii").splitlines()
    edit(lines)
    path.write_text("\n".join(lines), encoding="ascii")


def test_ids_equal_those_of_the_reference(tokenizer: Tokenizer, assets: Path) -> None:
    cases = json.loads((assets / "tokenizer_cases.json").read_text(encoding="utf-8"))
    assert len(cases) == 26
    assert [tokenizer.encode(case["text"]) for case in cases] == [case["ids"] for case in cases]
    assert [tokenizer.decode(case["ids"]) for case in cases] == [case["text"] for case in cases]


def test_special_ids_come_from_the_file(tokenizer: Tokenizer) -> None:
    assert tokenizer.end_of_text_id == 1025
    assert tokenizer.im_start_id == 1027
    assert tokenizer.im_end_id == 1028
    assert tokenizer.voice_id == 1034
    assert tokenizer.semantic_begin_id == 1036
    assert tokenizer.num_semantic == 1024
    assert tokenizer.num_ids == 2060


def test_plain_encoding_never_yields_a_special_id(tokenizer: Tokenizer) -> None:
    for token, token_id in tokenizer.special_tokens.items():
        assert tokenizer.encode(token) == [token_id]
        plain = tokenizer.encode_plain(token)
        assert max(plain) < 1024
        assert tokenizer.decode(plain) == token


def test_long_texts_are_encoded_in_slices(tokenizer: Tokenizer) -> None:
    text = "word " * (MAX_SLICE_CHARACTERS // 5) + "ing<|voice|>"
    first, second = text[:MAX_SLICE_CHARACTERS], text[MAX_SLICE_CHARACTERS:]
    assert tokenizer.encode(text) == tokenizer.encode(first) + tokenizer.encode(second)
    assert tokenizer.encode_plain(text) == [
        *tokenizer.encode_plain(first),
        *tokenizer.encode_plain(second),
    ]
    seam = "a" * (MAX_SLICE_CHARACTERS - 3) + "<|voice|>"
    assert tokenizer.voice_id not in tokenizer.encode(seam)


def test_other_leading_tokens_and_fewer_semantic_tokens(folder: Path) -> None:
    names = ["im_start", "phoneme_start", "semantic:0", "semantic:1", "voice", "im_end"]
    names += ["audio", "end_of_text"]
    ids = {f"<|{name}|>": 1024 + place for place, name in enumerate(names)}
    (folder / "special_tokens.json").write_text(json.dumps(ids), encoding="utf-8")
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.semantic_begin_id, tokenizer.num_semantic) == (1026, 2)
    assert tokenizer.encode("hi<|phoneme_start|>") == [104, 105, 1025]


def test_a_lone_equals_sign_is_skipped(folder: Path, assets: Path) -> None:
    edit_ranks(folder, lambda lines: lines.insert(300, "= 300"))
    edit_ranks(folder, lambda lines: lines.append("="))
    text = "Please enter <|im_end|>"
    expected = load_tokenizer(assets / "text2semantic").encode(text)
    assert load_tokenizer(folder).encode(text) == expected


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: lines.__setitem__(4, "no*base64 4"), "line 5: .* got b'no\\*base64 4'"),
        (lambda lines: lines.__setitem__(400, lines[400].split()[0]), "line 401: "),
        (lambda lines: lines.__setitem__(400, lines[400] + "0"), "line 401: .* rank 400, got"),
        (lambda lines: lines.__setitem__(400, f"{lines[9].split()[0]} 400"), "line 401: .* new"),
        (lambda lines: lines.__setitem__(400, lines[400] + " x"), "line 401: "),
        (lambda lines: lines.clear(), "256 bytes, 256 are missing"),
        (lambda lines: lines.__delitem__(slice(900, None)), "expected an id in 900..1935"),
    ],
)
def test_damaged_ranks_raise(
    folder: Path, edit: Callable[[list[str]], object], message: str
) -> None:
    edit_ranks(folder, edit)
    with pytest.raises(CheckpointError, match=message) as error:
        load_tokenizer(folder)
    assert "tokenizer.tiktoken" in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda ids: ids.pop("<|im_end|>"), r"<\|im_end\|>: missing"),
        (lambda ids: ids.update({"<|pad|>": 5}), r"<\|pad\|>: .* id in 1024..2059, got 5"),
        (lambda ids: ids.update({"<|pad|>": 1024}), r"unique id, got 1024"),
        (
            lambda ids: ids.update({"<|semantic:5|>": 1042, "<|semantic:6|>": 1041}),
            r"<\|semantic:5\|>: expected id 1041, got 1042",
        ),
        (lambda ids: ids.update({"<|pad|>": "1026"}), "integer ids, got .* valid integer"),
    ],
)
def test_damaged_special_tokens_raise(
    folder: Path, edit: Callable[[dict[str, int]], object], message: str
) -> None:
    edit_special_tokens(folder, edit)
    with pytest.raises(CheckpointError, match=message) as error:
        load_tokenizer(folder)
    assert "special_tokens.json" in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_special_tokens_that_are_not_a_json_object_raise(folder: Path, content: bytes) -> None:
    (folder / "special_tokens.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"special_tokens\.json: expected a JSON object"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer.tiktoken", "special_tokens.json"])
def test_a_device_in_place_of_a_file_raises(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match=r"cannot read .*: expected a file, got a device"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer.tiktoken", "special_tokens.json"])
def test_a_missing_file_raises(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"cannot read .*{name}: No such file"):
        load_tokenizer(folder)

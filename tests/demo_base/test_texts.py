from pathlib import Path

import pytest
import yaml

from demo_base.recipe.stages import write_texts

WORDNET = """\
  1 licence
00001 04 n 01 dog 0 000 | a member of the genus Canis; "the dog barked all night"; "sit!"
00002 04 n 01 cat 0 000 | feline mammal with soft fur; the dog barked all night
00003 04 n 01 tea 0 000 | an infusion of 2 leaves; "we drank tea, or coffee"; "I went home?"
"""


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace Debian's WordNet and word list by small ones."""
    for part in write_texts.PARTS_OF_SPEECH:
        (tmp_path / f"data.{part}").write_text(WORDNET if part == "noun" else "")
    (tmp_path / "words").write_text("apple\nApril\npear's\nplum\na\n")
    monkeypatch.setattr(write_texts, "WORDNET", tmp_path)
    monkeypatch.setattr(write_texts, "WORDS", tmp_path / "words")


def test_sentences_are_short_plain_and_unique() -> None:
    phrases = ["we drank tea", "We drank tea", "a dog", "tea at 5 o'clock", "is it late?"]
    long = "a b c " * 5 + "d"
    assert write_texts.sentences([*phrases, long], 20) == ["Is it late?", "We drank tea."]


def test_no_definition_is_also_an_example() -> None:
    examples, definitions = write_texts.examples_and_definitions(90)

    assert examples == ["I went home?", "The dog barked all night.", "We drank tea, or coffee."]
    assert definitions == ["A member of the genus Canis.", "Feline mammal with soft fur."]


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: float) -> list[list[str]]:
    """Run the stage and return the lines of train.txt and of held_out.txt."""
    kinds = ("examples", "definitions", "prompts", "spellings", "remarks")
    counts = {f"num_{kind}": 8 for kind in kinds}
    shares = {"numeral_share": 0.0, "bare_share": 0.0}
    values = {"seed": 1, "num_held_out": 1, "max_characters": 90} | shares | counts | changed
    (folder / "params.yaml").write_text(yaml.safe_dump({"texts": values}))
    monkeypatch.chdir(folder)
    write_texts.main()
    names = ("train.txt", "held_out.txt")
    return [(folder / "texts" / name).read_text().splitlines() for name in names]


def test_no_held_out_sentence_is_in_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, held_out = written(tmp_path, monkeypatch)

    # One example of three, one prompt, one spelling and one remark are held out.
    assert len(held_out) == 4
    assert len(train) == 2 + 2 + 8 + 8 + 8
    assert not set(train) & set(held_out)
    assert len(set(train)) == len(train)


def test_the_spelling_of_training_texts_varies_but_not_of_held_out_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, changed = (
        written(tmp_path, monkeypatch, bare_share=share, numeral_share=share) for share in (0, 1)
    )

    assert changed[1] == plain[1]
    assert len(changed[0]) == len(plain[0])
    assert not any(text[0].isupper() or text.endswith(".") for text in changed[0])
    assert any(char.isdigit() for text in changed[0] for char in text)
    # Numbers become figures only in texts from patterns.py.
    assert "a member of the genus Canis" in changed[0]

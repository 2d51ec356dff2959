"""Write the texts that are spoken: WordNet's examples and definitions, prompts, spellings.

Sources: Debian's wordnet-base (WordNet 3.0, free for any use with its notice), wamerican-small
(public domain and SCOWL) and the patterns in demo_base/patterns.py.
"""

import argparse
import random
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from demo_base import patterns
from fishdvc.params import read_params
from fishdvc.validation import Checked

WORDNET = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("verb", "noun", "adj", "adv")
WORDS = Path("/usr/share/dict/american-english-small")


class TextsParams(Checked):
    """Section ``texts`` of params.yaml."""

    seed: int = Field(description="Of every choice.")
    num_examples: int = Field(description="WordNet's examples of use.", ge=1)
    num_definitions: int = Field(description="WordNet's definitions; none is held out.", ge=0)
    num_prompts: int = Field(description="Telephone prompts.", ge=1)
    num_spellings: int = Field(description="Digits, letters, single words.", ge=1)
    num_held_out: int = Field(
        description="Sentences of each other kind that no voice speaks.", ge=1
    )
    max_characters: int = Field(description="Longest sentence.", ge=10)
    numeral_share: float = Field(
        description="Of prompts and spellings, those in figures.", ge=0, le=1
    )
    bare_share: float = Field(
        description="Of all, those without capital and full stop.", ge=0, le=1
    )


def sentences(phrases: Iterable[str], max_characters: int) -> list[str]:
    """Make sentences of those phrases that are short and of plain words, each once."""
    found = set()
    for phrase in phrases:
        plain = re.fullmatch(r"[A-Za-z][a-z]*(,? [A-Za-z][a-z']*){2,}[.?!]?", phrase)
        if plain and len(phrase) <= max_characters:
            ending = "" if phrase[-1] in ".?!" else "."
            found.add(f"{phrase[0].upper()}{phrase[1:]}{ending}")
    return sorted(found)


def examples_and_definitions(max_characters: int) -> tuple[list[str], list[str]]:
    """Read sentences of both kinds from WordNet, none in both."""
    texts = [(WORDNET / f"data.{part}").read_text() for part in PARTS_OF_SPEECH]
    quoted = [phrase for text in texts for phrase in re.findall(r'"([^"]+)"', text)]
    examples = sentences(quoted, max_characters)
    glosses = [gloss for text in texts for gloss in re.findall(r" \| (.+)", text)]
    defined = [phrase.strip() for gloss in glosses for phrase in gloss.split(";")]
    known = set(examples)
    return examples, [s for s in sentences(defined, max_characters) if s not in known]


def _as_people_write(rng: random.Random, text: str, params: TextsParams, *, numerals: bool) -> str:
    """Leave out at random what labels of recordings often leave out; it sounds the same."""
    if numerals and rng.random() < params.numeral_share:
        text = patterns.with_numerals(text)
    if rng.random() < params.bare_share:
        text = patterns.without_capital_and_stop(text)
    return text


def main() -> None:
    """Write ``train.txt`` and ``held_out.txt``, a sentence a line, none in both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    params = read_params(args.params, "texts", TextsParams)
    rng = random.Random(params.seed)

    words = [w for w in WORDS.read_text().split() if re.fullmatch("[a-z]{2,}", w)]
    examples, definitions = examples_and_definitions(params.max_characters)
    rng.shuffle(examples)
    # Dictionaries keep the order of their keys and drop repetitions.
    prompts = list(dict.fromkeys(patterns.prompt(rng) for _ in range(4 * params.num_prompts)))
    spelled = list(
        dict.fromkeys(patterns.spelling(rng, words) for _ in range(4 * params.num_spellings))
    )
    held_out: list[str] = []
    train: list[str] = []
    for kind, size in (
        (examples, params.num_examples),
        (prompts, params.num_prompts),
        (spelled, params.num_spellings),
    ):
        held_out += kind[: params.num_held_out]
        train += kind[params.num_held_out :][:size]
    # Of these, none is held out.
    rng.shuffle(definitions)
    train += definitions[: params.num_definitions]
    rng.shuffle(train)
    from_patterns = {*prompts, *spelled}
    train = [_as_people_write(rng, text, params, numerals=text in from_patterns) for text in train]
    args.texts.mkdir(parents=True, exist_ok=True)
    for name, lines in (("train", train), ("held_out", held_out)):
        (args.texts / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    print(f"write_texts: {len(train)} sentences, {len(held_out)} held out")


if __name__ == "__main__":
    main()

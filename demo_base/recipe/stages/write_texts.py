"""Write the texts to speak: WordNet's sentences, telephone prompts, spellings, conversation.

Sources: Debian's wordnet-base (WordNet 3.0), wamerican-small (SCOWL), patterns.py and
conversation.py.
"""

import random
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from demo_base.recipe import conversation, paths, patterns
from fishdvc.params import read_params
from fishdvc.validation import Checked

WORDNET = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("verb", "noun", "adj", "adv")
WORDS = Path("/usr/share/dict/american-english-small")


class TextsParams(Checked):
    """Section ``texts`` of params.yaml."""

    seed: int = Field(description="Seed of every random choice.")
    num_examples: int = Field(description="WordNet's examples of use.", ge=1)
    num_definitions: int = Field(description="WordNet's definitions. None is held out.", ge=0)
    num_prompts: int = Field(description="Telephone prompts.", ge=1)
    num_spellings: int = Field(description="Digits, letters and single words.", ge=1)
    num_remarks: int = Field(description="Everyday sentences and questions.", ge=1)
    num_held_out: int = Field(description="Held-out sentences of each other kind.", ge=1)
    max_characters: int = Field(description="Longest sentence.", ge=10)
    numeral_share: float = Field(
        description="Share of prompts and spellings with numbers as figures.", ge=0, le=1
    )
    bare_share: float = Field(
        description="Share of all texts without capital and full stop.", ge=0, le=1
    )


def sentences(phrases: Iterable[str], max_characters: int) -> list[str]:
    """Make sentences of the short phrases of plain words, without repetitions."""
    found = set()
    for phrase in phrases:
        plain = re.fullmatch(r"[A-Za-z][a-z]*(,? [A-Za-z][a-z']*){2,}[.?!]?", phrase)
        if plain and len(phrase) <= max_characters:
            ending = "" if phrase[-1] in ".?!" else "."
            found.add(f"{phrase[0].upper()}{phrase[1:]}{ending}")
    return sorted(found)


def examples_and_definitions(max_characters: int) -> tuple[list[str], list[str]]:
    """Read sentences of both kinds from WordNet. No sentence is in both lists."""
    texts = [(WORDNET / f"data.{part}").read_text() for part in PARTS_OF_SPEECH]
    quoted = [phrase for text in texts for phrase in re.findall(r'"([^"]+)"', text)]
    examples = sentences(quoted, max_characters)
    glosses = [gloss for text in texts for gloss in re.findall(r" \| (.+)", text)]
    defined = [phrase.strip() for gloss in glosses for phrase in gloss.split(";")]
    known = set(examples)
    return examples, [s for s in sentences(defined, max_characters) if s not in known]


def vary_spelling(rng: random.Random, text: str, params: TextsParams, *, numerals: bool) -> str:
    """Rewrite a text at random as labels of recordings are often written. It sounds the same."""
    if numerals and rng.random() < params.numeral_share:
        text = patterns.with_numerals(text)
    if rng.random() < params.bare_share:
        text = patterns.without_capital_and_stop(text)
    return text


def main() -> None:
    """Write ``train.txt`` and ``held_out.txt``, one sentence per line, none in both."""
    params = read_params(paths.PARAMS, "texts", TextsParams)
    rng = random.Random(params.seed)

    words = [w for w in WORDS.read_text().split() if re.fullmatch("[a-z]{2,}", w)]
    examples, definitions = examples_and_definitions(params.max_characters)
    rng.shuffle(examples)
    # A dictionary drops repetitions and keeps the order.
    prompts = list(dict.fromkeys(patterns.prompt(rng) for _ in range(4 * params.num_prompts)))
    spelled = list(
        dict.fromkeys(patterns.spelling(rng, words) for _ in range(4 * params.num_spellings))
    )
    remarks = list(dict.fromkeys(conversation.remark(rng) for _ in range(2 * params.num_remarks)))
    held_out: list[str] = []
    train: list[str] = []
    for kind, size in (
        (examples, params.num_examples),
        (prompts, params.num_prompts),
        (spelled, params.num_spellings),
        (remarks, params.num_remarks),
    ):
        held_out += kind[: params.num_held_out]
        train += kind[params.num_held_out :][:size]
    rng.shuffle(definitions)
    train += definitions[: params.num_definitions]
    rng.shuffle(train)
    from_patterns = {*prompts, *spelled, *remarks}
    train = [vary_spelling(rng, text, params, numerals=text in from_patterns) for text in train]
    paths.TEXTS.mkdir(parents=True, exist_ok=True)
    for name, lines in (("train", train), ("held_out", held_out)):
        (paths.TEXTS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    print(f"write_texts: {len(train)} sentences, {len(held_out)} held out")


if __name__ == "__main__":
    main()

"""Write the texts that are spoken: WordNet's examples of use, telephone prompts, spellings.

Sources: Debian's wordnet-base (WordNet 3.0, free for any use with its notice), wamerican-small
(public domain and SCOWL) and the patterns in demo_base/patterns.py.
"""

import argparse
import random
import re
from dataclasses import dataclass
from pathlib import Path

from demo_base import patterns
from fishdvc.params import param, read_params

WORDNET = Path("/usr/share/wordnet")
WORDS = Path("/usr/share/dict/american-english-small")


@dataclass(frozen=True, kw_only=True)
class TextsParams:
    """Section ``texts`` of params.yaml."""

    seed: int = param("Of every choice.")
    num_examples: int = param("Sentences from WordNet.", at_least=1)
    num_prompts: int = param("Telephone prompts.", at_least=1)
    num_spellings: int = param("Digits, letters, single words.", at_least=1)
    num_held_out: int = param("Sentences of each kind that no voice speaks.", at_least=1)
    max_characters: int = param("Longest sentence.", at_least=10)


def examples(max_characters: int) -> list[str]:
    """Read WordNet's examples of use, as sentences of plain words."""
    found = set()
    for part in ("verb", "noun", "adj", "adv"):
        for example in re.findall(r'"([^"]+)"', (WORDNET / f"data.{part}").read_text()):
            plain = re.fullmatch(r"[A-Za-z][a-z]*(,? [A-Za-z][a-z']*){2,}[.?!]?", example)
            if plain and len(example) <= max_characters:
                ending = "" if example[-1] in ".?!" else "."
                found.add(f"{example[0].upper()}{example[1:]}{ending}")
    return sorted(found)


def main() -> None:
    """Write ``train.txt`` and ``held_out.txt``, a sentence a line, none in both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    params = read_params(args.params, "texts", TextsParams)
    rng = random.Random(params.seed)

    words = [w for w in WORDS.read_text().split() if re.fullmatch("[a-z]{2,}", w)]
    of_wordnet = examples(params.max_characters)
    rng.shuffle(of_wordnet)
    # Dictionaries keep the order of their keys and drop repetitions.
    prompts = list(dict.fromkeys(patterns.prompt(rng) for _ in range(4 * params.num_prompts)))
    spelled = list(
        dict.fromkeys(patterns.spelling(rng, words) for _ in range(4 * params.num_spellings))
    )
    held_out: list[str] = []
    train: list[str] = []
    for kind, size in (
        (of_wordnet, params.num_examples),
        (prompts, params.num_prompts),
        (spelled, params.num_spellings),
    ):
        held_out += kind[: params.num_held_out]
        train += kind[params.num_held_out :][:size]
    rng.shuffle(train)
    args.texts.mkdir(parents=True, exist_ok=True)
    for name, sentences in (("train", train), ("held_out", held_out)):
        (args.texts / f"{name}.txt").write_text("".join(f"{s}\n" for s in sentences))
    print(f"write_texts: {len(train)} sentences, {len(held_out)} held out")


if __name__ == "__main__":
    main()

"""Patterns of telephone prompts, written for this recipe, and the words that fill them."""

import random
import re
from collections.abc import Mapping


def _words(text: str) -> list[str]:
    return text.split()


DIGITS = _words("zero one two three four five six seven eight nine")
TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
TEENS = _words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
ORDINALS = _words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fifteenth twentieth thirtieth"
)
LETTERS = _words("a b c d e f g h i j k l m n o p q r s t u v w x y z")
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words(
    "January February March April May June July August September October November December"
)

NUMERALS = {word: str(number) for number, word in enumerate([*DIGITS, *TEENS])} | {
    word: str(10 * number) for number, word in enumerate(TENS, 2)
}

WORDS = {
    "number": [*DIGITS, *TEENS, *TENS],
    "digit": DIGITS,
    "ordinal": ORDINALS,
    "day": DAYS,
    "month": MONTHS,
    "letter": LETTERS,
    "key": ["pound key", "star key", "hash key", *(f"{d} key" for d in DIGITS)],
    "thing": _words(
        "account agent extension telephone mailbox conference password pin queue message card "
        "order ticket room menu option directory phone code area zip customer invoice line"
    ),
    "person": _words(
        "caller operator manager agent leader speaker guest user owner member customer "
        "administrator friend"
    ),
    "list": _words(
        "messages calls users callers guests minutes hours seconds members people recordings "
        "conferences numbers words"
    ),
    "state": _words(
        "locked unlocked muted unmuted busy open closed full empty active available unavailable "
        "enabled disabled disconnected connected ready complete saved deleted valid invalid "
        "incorrect correct forwarded recorded paused stopped cancelled"
    ),
    "do": _words(
        "hear save delete repeat forward record change review cancel leave join lock unlock mute "
        "unmute check enter confirm send skip replay pause stop find choose"
    ),
    "time": ["morning", "afternoon", "evening", "night", "today", "tomorrow", "now", "later"],
    "greeting": ["Hello", "Welcome", "Thank you", "Good morning", "Good afternoon", "Goodbye"],
}
"""Words that replace ``{name}`` in a pattern."""

PATTERNS = """
Please enter your {thing} number.
Please enter your {thing} number, followed by the {key}.
Please enter the {thing} of the {person}, then press the {key}.
Press {digit} to {do} the {thing}.
Press {digit} to {do} this {thing}, or {digit} to {do} it.
To {do} your {thing}, press {digit}.
To {do} the {ordinal} {thing}, press the {key}.
For the {thing}, press {digit}; for the {person}, press {digit}.
The {thing} is {state}.
The {thing} is now {state}.
Your {thing} is not {state}.
Your {thing} has been {state}.
This {thing} is {state} until {day} {time}.
The {person} is {state}.
You have {number} new {list}.
You have {number} {list} in your {thing}.
There are {number} {list} waiting.
There are currently {number} {list} in the {thing}.
You are the {ordinal} {person} in the {thing}.
The {person} has left the {thing}.
The {person} will join the {thing} in {number} minutes.
All of the {list} are {state}.
{greeting}.
{greeting}, and please hold.
{greeting}. You have reached the {thing} {thing}.
{greeting}. Please call again on {day}.
That {thing} is not {state}. Please try again.
I'm sorry, that is not a valid {thing} number.
Please hold while I try to find the {person}.
Please say your name after the tone, then press the {key}.
Goodbye, and thank you for calling.
The time is {number} {number}.
It is {number} o'clock in the {time}.
Today is {day}, {month} {ordinal}.
On {month} {ordinal}, call {digit} {digit} {digit}, {digit} {digit} {digit} {digit}.
Extension {digit} {digit} {digit} is {state}.
Your number is {digit} {digit} {digit}, {digit} {digit} {digit} {digit}.
{day}. {month}. {number}.
Would you like to {do} the {thing}?
If this is {state}, press {digit}.
{digit} {digit} {digit} {digit}.
The {thing} number that you entered is {state}.
To {do} the {list} of the {person}, say {letter}, {letter}, {letter}.
""".strip().splitlines()


def fill(rng: random.Random, pattern: str, words: Mapping[str, list[str]]) -> str:
    """Replace each ``{name}`` in a pattern by a random word of that name."""
    return re.sub(r"\{(\w+)\}", lambda m: rng.choice(words[m[1]]), pattern)


def prompt(rng: random.Random) -> str:
    """Fill a pattern of a telephone prompt at random."""
    return fill(rng, rng.choice(PATTERNS), WORDS)


def spelling(rng: random.Random, words: list[str]) -> str:
    """Draw one to four digits, letters or single words."""
    kind = rng.choice(
        [DIGITS, LETTERS, [*TEENS, *TENS], ORDINALS, DAYS, MONTHS, words, words, words]
    )
    said = ", ".join(rng.choice(kind) for _ in range(rng.randint(1, 4)))
    return f"{said[0].upper()}{said[1:]}."


def with_numerals(text: str) -> str:
    """Write numbers as figures: ``Press 1.`` for ``Press one.``."""
    return re.sub(r"[A-Za-z]+", lambda m: NUMERALS.get(m[0].lower(), m[0]), text)


def without_capital_and_stop(text: str) -> str:
    """Write ``press one`` for ``Press one.``, as many labels of recordings do."""
    return text[0].lower() + text[1:].removesuffix(".")

"""The blind test of the listening page in a headless Chromium."""

import time
from pathlib import Path

import pytest

from fishdvc.evaluation.results import Evaluation
from fishdvc.evaluation.votes import read_votes
from tests.evaluation.page.browser import NEEDS_CHROMIUM, Browser

pytestmark = NEEDS_CHROMIUM


def test_the_blind_test_by_keys_alone_exports_votes_that_are_read(
    browser: Browser, tmp_path: Path
) -> None:
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.evaluate("document.querySelector('.open-blind').focus()")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('#blind').open")
    browser.press("1")
    assert browser.evaluate("votes.length") == 0, "a clip cannot be chosen before it is heard"
    assert "Step" not in browser.evaluate("document.querySelector('#blind').innerText")
    expected = []
    for key in ("1", "2", "2"):
        browser.press(" ")
        browser.wait_for("document.querySelectorAll('.hear.heard').length === 2")
        rows = browser.evaluate("pair.cards.map(card => card.dataset.row)")
        heard = browser.evaluate("pair.cards.map(card => card.dataset.audioHash)")
        sentence = browser.evaluate("pair.article.dataset.sentence")
        browser.press(key)
        expected.append((sentence, *rows, *heard, rows[int(key) - 1]))
    while browser.evaluate("document.activeElement.className") != "finish":
        browser.press("Tab")
    browser.press(" ")
    while browser.evaluate("document.activeElement.className") != "export":
        browser.press("Tab")
    browser.press("Enter")
    path = tmp_path / "votes.json"
    end = time.monotonic() + 60
    # Chromium makes the file before it writes it.
    while not (path.exists() and path.read_text().endswith("}\n")) and time.monotonic() < end:
        browser.evaluate("1")
    votes = read_votes(path)
    assert [tuple(vote.model_dump().values()) for vote in votes] == expected
    assert all(vote.audio_a != vote.audio_b for vote in votes)
    browser.press("Escape")
    assert not browser.evaluate("document.querySelector('#blind').open")
    assert browser.evaluate("document.activeElement.className") == "open-blind"


def test_the_blind_test_offers_inseparable_rows_first_and_each_pair_once(
    browser: Browser, written: tuple[Path, Evaluation]
) -> None:
    def offered() -> tuple[str, ...]:
        sentence, *rows = browser.evaluate(
            "[pair.article.dataset.sentence, ...pair.cards.map(card => card.dataset.row)]"
        )
        return (sentence, *sorted(rows))

    # The base, three checkpoints that are shown, and one that is hidden have ten pairs.
    pairs = []
    for _ in range(20):
        # A pair that Esc leaves open is offered again.
        browser.evaluate("openBlind()")
        browser.press("Escape")
        browser.evaluate("openBlind()")
        pairs.append(offered())
        browser.click("#blind .next")
        browser.press("Escape")
    assert len(set(pairs)) == 20
    assert all(first != second for _, first, second in pairs)
    assert not {"recording", "codec"} & {name for _, *rows in pairs for name in rows}
    inseparable = tuple(sorted(written[1].choice.compare_first))
    assert [pair[1:] for pair in pairs[:2]] == [inseparable] * 2
    browser.evaluate("openBlind()")
    assert offered() in pairs, "after all pairs, a second round begins"


def test_chance_decides_which_row_is_clip_1(browser: Browser) -> None:
    offered = []
    for drawn in ("0", "0.99"):
        browser.evaluate(f"Math.random = () => {drawn}")
        offered.append(
            browser.evaluate(
                "makePairs().map(({article, cards}) =>"
                "[article.dataset.sentence, ...cards.map(card => card.dataset.row)])"
            )
        )
    first, second = offered
    assert len(first) == 20
    assert sorted(first) == sorted([sentence, b, a] for sentence, a, b in second)


def test_each_button_plays_its_clip_of_the_sentence_until_the_test_is_closed(
    browser: Browser,
) -> None:
    browser.evaluate("sound.loop = true")
    browser.evaluate("openBlind()")
    text = "document.querySelector('#blind .sentence').textContent"
    assert browser.evaluate(f"{text} === pair.article.querySelector('h3').textContent")
    for clip in (1, 0):
        assert browser.evaluate("votes.length") == 0
        browser.click(f".hear[data-clip='{clip}']")
        player = f"pair.cards[{clip}].querySelector('.play')"
        assert browser.evaluate(f"sound.src.endsWith({player}.dataset.audio)")
        if clip == 1:
            browser.press("2")
    assert browser.evaluate("!sound.paused")
    browser.press("Escape")
    browser.wait_for("sound.paused")


@pytest.mark.parametrize("modifier", ["ctrlKey", "altKey", "metaKey"])
def test_shortcuts_of_the_browser_are_no_votes(modifier: str, browser: Browser) -> None:
    browser.evaluate("openBlind(); hearButtons.forEach(button => button.classList.add('heard'))")
    for options, number in ((f"{modifier}: true,", 0), ("", 1)):
        browser.evaluate(
            f"panel.dispatchEvent(new KeyboardEvent('keydown', "
            f"{{{options} key: '1', bubbles: true}}))"
        )
        assert browser.evaluate("votes.length") == number


def test_the_result_says_how_often_each_row_was_better(
    browser: Browser, written: tuple[Path, Evaluation]
) -> None:
    base, first, *_, last = written[1].rows[2:]
    votes = [(base, first, base), (first, base, base), (base, first, first), (last, first, last)]
    for row_a, row_b, winner in votes:
        a, b, won = (repr(row.name) for row in (row_a, row_b, winner))
        browser.evaluate(f"votes.push({{row_a: {a}, row_b: {b}, winner: {won}}})")
    browser.evaluate("openBlind()")
    browser.click("#blind .finish")
    lines = browser.evaluate("[...document.querySelectorAll('.result li')].map(e => e.textContent)")
    assert lines == ["Step 1,000: 1 of 1", "Base: 2 of 3", "Step 20: 1 of 4"]


def test_the_browser_asks_before_votes_are_lost(browser: Browser) -> None:
    asks = (
        "(() => { const event = new Event('beforeunload', {cancelable: true});"
        "dispatchEvent(event); return event.defaultPrevented; })()"
    )
    browser.evaluate("HTMLAnchorElement.prototype.click = () => {}")
    assert browser.evaluate(asks) is False
    browser.evaluate("openBlind(); hearButtons.forEach(button => button.classList.add('heard'))")
    browser.press("1")
    assert browser.evaluate(asks) is True
    browser.evaluate("exportVotes()")
    assert browser.evaluate(asks) is False

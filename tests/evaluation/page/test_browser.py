"""The listening page in a headless Chromium, opened from the disk."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from fishdvc.evaluation.results import Evaluation
from tests.evaluation.page.browser import NEEDS_CHROMIUM, Browser
from tests.evaluation.page.hostile import HOSTILE, HOSTILE_NAME

pytestmark = NEEDS_CHROMIUM


def order(browser: Browser) -> list[str]:
    """Names of the checkpoints in the order of the table."""
    names: list[str] = browser.evaluate(
        "[...document.querySelectorAll('.sorted tr')].map(row => row.dataset.row)"
    )
    return names


def test_no_string_of_a_user_becomes_markup(browser: Browser) -> None:
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('script').length") == 1
    assert browser.evaluate("document.querySelectorAll('i, img:not(.picture img)').length") == 0
    texts = browser.evaluate(
        "['.warning', '.reason', 'article:nth-of-type(2) .sentence', '.finding li',"
        " '.gates li:last-child', '.speakers th[scope=row]']"
        ".map(s => [...document.querySelectorAll(s)].at(-1).textContent)"
    )
    assert texts == ["Warning. " + HOSTILE, *[HOSTILE] * 5]


def test_the_policy_blocks_scripts_and_requests_that_are_not_of_the_page(browser: Browser) -> None:
    blocked = browser.evaluate("""new Promise(done => {
        const blocked = [];
        document.addEventListener('securitypolicyviolation', (event) => {
            blocked.push(event.effectiveDirective);
            if (blocked.length === 3) done(blocked.sort());
        });
        const script = document.createElement('script');
        script.textContent = 'hacked = 1';
        document.body.append(script);
        new Image().src = 'https://example.com/a.png';
        fetch('https://example.com/').catch(() => null);
    })""")
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert browser.evaluate("typeof hacked") == "undefined"
    # The console reports what was blocked, and nothing was sent.
    browser.events.clear()


@pytest.mark.parametrize("name", ["val_loss", "cer", "similarity", "f0_median_hz"])
def test_every_column_sorts_the_checkpoints_in_both_orders(
    name: str, browser: Browser, written: tuple[Path, Evaluation]
) -> None:
    evaluation = written[1]
    column = [metric.name for metric in evaluation.metrics].index(name) + 2
    rows = [row for row in evaluation.rows if row.kind == "checkpoint"]
    better_first = evaluation.metrics[column - 2].better == "higher"
    button = f".checkpoints thead th:nth-child({column + 1}) button"
    for descending in (better_first, not better_first):
        browser.click(button)
        expected = sorted(rows, key=lambda row: row.metrics[name].value, reverse=descending)
        assert order(browser) == [row.name for row in expected]
        marks = browser.evaluate(
            "[...document.querySelectorAll('.checkpoints thead th')].map(cell => cell.ariaSort)"
        )
        assert marks[column] == ("descending" if descending else "ascending")
        assert marks.count(None) == len(marks) - 1
    browser.click(".checkpoints thead th:first-child button")
    assert order(browser) == [row.name for row in rows]


def test_a_value_that_was_not_measured_is_last_in_both_orders(browser: Browser) -> None:
    first = order(browser)[0]
    browser.evaluate("document.querySelector('.sorted tr').children[2].dataset.value = 'nan'")
    for _ in range(2):
        browser.click(".checkpoints thead th:nth-child(3) button")
        assert order(browser)[-1] == first


def test_a_player_plays_stops_and_ends(browser: Browser) -> None:
    button = ".first .clip:nth-child(2) .play"
    pressed = f"document.querySelector({json.dumps(button)}).ariaPressed"
    assert browser.evaluate("sound.currentSrc") == ""
    browser.click(button)
    assert browser.evaluate(pressed) == "true"
    browser.wait_for("sound.currentTime > 0")
    browser.wait_for(f"{pressed} === 'false'")
    assert browser.evaluate("sound.ended && sound.currentSrc.endsWith('audio/base/first.mp3')")
    browser.click(button)
    browser.click(button)
    assert browser.evaluate("sound.paused && " + pressed) == "false"


def test_a_click_in_the_middle_of_a_picture_plays_from_there(browser: Browser) -> None:
    # The sound stays where it begins.
    browser.evaluate("sound.preload = 'auto'; sound.play = () => Promise.resolve()")
    browser.click(".first .clip:nth-child(2) .picture")
    browser.wait_for("sound.currentTime > 0")
    assert browser.evaluate("sound.currentTime / sound.duration") == pytest.approx(0.5, abs=0.02)


def test_a_file_with_any_name_is_played_and_drawn(browser: Browser) -> None:
    article = "article:nth-of-type(2)"
    browser.click(f"{article} .clip.base .play")
    browser.wait_for("sound.currentTime > 0")
    assert quote(HOSTILE_NAME) in browser.evaluate(
        f"document.querySelector('{article} .clip.base .play').dataset.audio"
    )
    browser.wait_for(f"document.querySelector('{article} .clip.base img').naturalWidth === 400")


def test_a_missing_file_is_named(browser: Browser) -> None:
    browser.evaluate("document.querySelector('.first .play').dataset.audio = 'audio/gone.mp3'")
    browser.click(".first .play")
    browser.wait_for("document.querySelector('#message').textContent.includes('audio/gone.mp3')")
    assert browser.evaluate("document.querySelector('.first .play').ariaPressed") == "false"
    browser.events[:] = [e for e in browser.events if e["method"] != "Log.entryAdded"]


def test_of_fifty_checkpoints_only_chosen_ones_load_pictures(
    browser: Browser, written: tuple[Path, Evaluation]
) -> None:
    shown = (
        "[...document.querySelectorAll('article:nth-of-type(1) .clip:not([hidden])')]"
        ".map(card => card.dataset.row)"
    )
    names = [row.name for row in written[1].rows]
    chosen = written[1].choice.checkpoint
    few = [*names[:4], chosen, names[-1]]
    assert browser.evaluate(shown) == few
    assert len([url for url in browser.requested() if url.endswith(".png")]) <= 3 + 2 * len(few)
    browser.click(f".filter input[value={names[7]}]")
    assert sorted(browser.evaluate(shown)) == sorted([*few, names[7]])
    browser.click(".filter [data-show=default]")
    assert browser.evaluate(shown) == few


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_not_wider_than_the_window(width: int, browser: Browser) -> None:
    browser.set_window(width=width, height=740)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_tab_reaches_the_content_and_the_focus_is_visible(browser: Browser) -> None:
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = []
    for _ in range(6):
        browser.press("Tab")
        seen.append(browser.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert browser.evaluate("document.activeElement.closest('header') !== null")
    assert set(seen) == {"solid"}

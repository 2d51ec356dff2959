"""The listening page in a headless Chromium, opened from the disk."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from fishdvc.corpus.findings import DataWarning
from fishdvc.evaluation.page.page import write_page
from fishdvc.evaluation.results import Evaluation, Sentence
from fishdvc.evaluation.votes import read_votes
from tests.evaluation.page.browser import CHROMIUM, Browser, run_browser
from tests.evaluation.page.example import (
    RATE_HZ,
    make_curves,
    make_data_report,
    make_evaluation,
    write_all_media,
)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.xdist_group("browser"),
]

HOSTILE = """<script>hacked=1</script><img src=x onerror=hacked=1>"'&{{7*7}}</h3>"""
HOSTILE_NAME = """a "b" 'c' #1 100% ?<i>&amp;"""
NUM_CHECKPOINTS = 50


def make_page(folder: Path) -> Evaluation:
    """Write a page with 50 checkpoints and with short sounds, in which every string is hostile."""
    sentences = (
        Sentence(name="first", text="Good bye.", speaker="A", source="held_out", reference="r"),
        Sentence(name=HOSTILE_NAME, text=HOSTILE, speaker=HOSTILE, source="own", reference=HOSTILE),
    )
    evaluation = make_evaluation(num_checkpoints=NUM_CHECKPOINTS, sentences=sentences)
    *rows, last = evaluation.rows
    evaluation = replace(
        evaluation,
        metrics=tuple(
            replace(metric, title=metric.title + HOSTILE, meaning=HOSTILE)
            for metric in evaluation.metrics
        ),
        rows=(*rows, replace(last, failures=(HOSTILE,))),
        players={
            row: {name: replace(player, heard=HOSTILE) for name, player in players.items()}
            for row, players in evaluation.players.items()
        },
        choice=replace(evaluation.choice, reason=HOSTILE, warning=HOSTILE),
        not_measured=(HOSTILE,),
    )
    time_s = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)
    # The rows that the tests show or compare.
    names = {row.name for row in (*rows[:4], rows[7], last)} | {*evaluation.choice.compare_first}
    shown = tuple(row for row in evaluation.rows if row.name in names)
    write_all_media(folder, replace(evaluation, rows=shown), [tone] * len(sentences))
    report = make_data_report()
    speaker = replace(report.speakers[0], name=HOSTILE)
    warning = DataWarning(kind="x", message=HOSTILE, advice=HOSTILE, files=(HOSTILE,))
    histogram = replace(report.histograms[0], title=HOSTILE)
    report = replace(report, speakers=(speaker,), warnings=(warning,), histograms=(histogram,))
    curves = {f"{HOSTILE} {name}": points for name, points in make_curves(1000).items()}
    write_page(folder, evaluation, curves=curves, data_report=report)
    return evaluation


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """A page and what it shows."""
    folder = tmp_path_factory.mktemp("page") / "a page #1"
    return folder / "index.html", make_page(folder)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser."""
    with run_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, written: tuple[Path, Evaluation]) -> Iterator[Browser]:
    """A browser that shows the page. After each test, it must not have complained."""
    running.set_window(width=1280, height=900)
    running.events.clear()
    running.open(written[0])
    yield running
    assert running.complaints() == []
    outside = [url for url in running.requested() if not url.startswith("file://")]
    # The export is an object in memory. The icon is empty.
    assert [url for url in outside if not url.startswith(("blob:", "data:"))] == []
    running.evaluate("saved = true")


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
    while not path.exists() and time.monotonic() < end:
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


def test_tab_reaches_the_content_and_the_focus_is_visible(browser: Browser) -> None:
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = []
    for _ in range(6):
        browser.press("Tab")
        seen.append(browser.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert browser.evaluate("document.activeElement.closest('header') !== null")
    assert set(seen) == {"solid"}

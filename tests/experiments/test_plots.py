"""Curves of several experiments on one chart: in the page's data, and drawn by a browser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.small_project import Project

CURVES = {
    "loss": {"train/loss.tsv", "val/loss.tsv"},
    "token_loss": {"train/token_loss.tsv", "val/token_loss.tsv"},
    "code_loss": {"train/code_loss.tsv", "val/code_loss.tsv"},
    "top_5_accuracy": {"train/top_5_accuracy.tsv", "val/top_5_accuracy.tsv"},
    "learning_rate": {"train/learning_rate.tsv"},
    "grad_norm": {"train/grad_norm.tsv"},
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TRAIN_STEPS = ["1", "2", "3", "4"]
VAL_STEPS = ["0", "2", "4"]


def revisions(project: Project) -> list[str]:
    return ["main", *sorted(project.experiments().keys() - {"baseline", "workers"})]


def test_every_chart_has_all_curves_of_all_experiments(swept: Project) -> None:
    compared = revisions(swept)
    assert len(compared) == 3
    plots = swept.json("dvc", "plots", "diff", *compared, "--json")
    assert "errors" not in plots
    assert plots["data"].keys() == CURVES.keys()
    for name, files in CURVES.items():
        (chart,) = plots["data"][name]
        assert chart["revisions"] == compared
        points = chart["content"]["data"]["values"]
        for revision in compared:
            for file in files:
                steps = [
                    point["step"]
                    for point in points
                    if point["rev"] == revision and point.get("filename", file) == file
                ]
                assert steps == (VAL_STEPS if file.startswith("val/") else TRAIN_STEPS)


@pytest.mark.parametrize("command", ["diff", "show"])
def test_a_browser_draws_a_line_for_each_curve(
    command: str, swept: Project, tmp_path: Path
) -> None:
    vl_convert = pytest.importorskip("vl_convert", reason="pip install '.[test]'")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser here: apt-get install chromium")
    compared = revisions(swept) if command == "diff" else []
    swept.run("dvc", "plots", command, *compared, "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots/index.html").read_text()
    # DVC's page fetches Vega from the network. Here the same libraries stand in the page itself.
    page, num_scripts = re.subn(r'<script src="https://cdn[^>]*></script>', "", page)
    assert num_scripts == 3
    libraries = vl_convert.javascript_bundle().replace("</script", r"<\/script")
    page = page.replace("<style>", f'<script type="module">{libraries}</script><style>', 1)
    page = page.replace('<script type = "text/javascript">', '<script type="module">')
    local = tmp_path / "local.html"
    local.write_text(page)

    picture = tmp_path / "curves.png"
    dom = render(browser, local, "--dump-dom", home=tmp_path)
    render(browser, local, f"--screenshot={picture}", home=tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    charts = re.findall(r'<svg[^>]*class="marks".*?</svg>', dom, re.DOTALL)
    assert len(charts) == len(CURVES)
    for svg, files in zip(charts, CURVES.values(), strict=True):
        lines = re.findall(r'aria-roledescription="line mark"[^>]*', svg)
        assert len(lines) >= max(1, len(compared)) * len(files)


def render(browser: str, page: Path, action: str, *, home: Path) -> str:
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    profile = f"--user-data-dir={home / 'browser'}"
    patience = ("--virtual-time-budget=20000", "--window-size=1000,2100")
    result = subprocess.run(
        [browser, *options, profile, *patience, action, page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout

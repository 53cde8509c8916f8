"""The report and the board in a real browser: from disk, and inside MLflow's artifact viewer."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import report
from tests import synthetic
from tests.conftest import HARNESS, TINY, harness

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip
SIZES = {"phone": (360, 740), "laptop": (1280, 800), "print": (794, 1123)}
AXE = "axe-core@4.11.1"


class Page:
    """A browser that can change its size, colours and whether scripts run."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.js: Callable[..., Any] = driver.execute_script

    def set(self, size: str = "laptop", dark: bool = False, scripts: bool = True) -> None:
        width, height = SIZES[size]
        self._do(
            "setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "no-preference"},
        ]
        media = "print" if size == "print" else "screen"
        self._do("setEmulatedMedia", {"media": media, "features": features})
        self._do("setScriptExecutionDisabled", {"value": not scripts})

    def reduced_motion(self) -> None:
        self._do(
            "setEmulatedMedia",
            {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]},
        )

    def _do(self, what: str, values: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(f"Emulation.{what}", values)

    def open(self, path: Path) -> None:
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        self.until("document.readyState === 'complete'")  # `get` does not wait without scripts

    def until(self, script: str, seconds: float = 60) -> Any:
        """The first true value of a script."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := self.js(f"return {script}"):
                return value
            time.sleep(0.1)
        text = self.js("return document.body ? document.body.innerText : ''")
        raise AssertionError(f"{script} never came true; the page says: {text[:1500]}")

    def complaints(self) -> list[str]:
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] != "INFO"]

    def requests(self) -> list[str]:
        """What the open page has asked for beyond itself."""
        own = self.driver.current_url.split("#")[0]
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        found = [
            e["params"]["request"]["url"]
            for e in events
            if e["method"] == "Network.requestWillBeSent" and e["params"]["documentURL"] == own
        ]
        assert own in found  # or the log is not that of this page
        return [url for url in found if url != own]


@pytest.fixture(scope="module")
def page(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.get("about:blank")
    yield Page(driver)
    driver.quit()


@pytest.fixture(scope="module")
def paper(written: tuple[Path, dict[str, Path]]) -> Path:
    return written[1]["report.html"]


@pytest.fixture(scope="module")
def board(paper: Path) -> Path:
    return paper.parents[2] / "index.html"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_open_from_disk_load_nothing_and_fit(
    page: Page, board: Path, paper: Path, size: str, scripts: bool
) -> None:
    results, verdicts = synthetic.small()
    for path in (paper, board):
        page.set(size, scripts=scripts)
        page.open(path)
        text = page.until("document.body.innerText")
        for v in verdicts:
            assert v.statement in text
        assert results.study.question in text
        assert page.js("return document.documentElement.scrollWidth") <= SIZES[size][0]
        assert [url for url in page.requests() if not url.startswith("data:")] == []
        assert page.complaints() == []
    page.set()


def test_without_scripts_trials_and_figures_are_still_there(page: Page, paper: Path) -> None:
    page.set(scripts=False)
    page.open(paper)
    assert page.js("return document.querySelectorAll('#trials-table tbody tr').length") == 60
    seen = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert page.js(seen, "#figure-trajectories .drawn") == "block"
    for idle in (".player", "#explore"):
        assert page.js(seen, idle) == "none"
    assert page.js("return document.querySelector('#claim-3 .panel svg').clientWidth") > 300
    page.set()


def test_a_line_to_quote_is_marked_by_a_click_and_copied_by_its_button(
    page: Page, paper: Path
) -> None:
    results, verdicts = synthetic.small()
    line = report.quote(results, verdicts[1])
    seen = "return [...document.querySelectorAll('.quote')][1].querySelector(arguments[0])"
    for scripts in (False, True):
        page.set("phone", scripts=scripts)
        page.open(paper)
        assert page.js(f"{seen}.textContent", "q") == line
        assert page.js(f"{seen}.hidden", "button") is not scripts
        assert page.js(f"return getComputedStyle({seen[7:]}).userSelect", "q") == "all"
    copied = (
        "window.copied = []; Object.defineProperty(navigator, 'clipboard', {configurable: true, value:"
        " {writeText: (text) => { window.copied.push(text); return Promise.resolve(); }}});"
    )
    page.js(copied)
    page.js(f"{seen}.click()", "button")
    assert page.until("window.copied.length && window.copied[0]") == line
    page.until("[...document.querySelectorAll('.quote button')][1].textContent === 'Copied'")
    page.js("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.js(f"{seen}.click()", "button")
    assert page.js("return getSelection().toString()") == line
    page.set()


def play(page: Page) -> None:
    """Press play: it starts anew, moves, pauses; the slider moves it; the legend hides an arm."""
    assert page.until("document.querySelector('.map canvas').width > 10")
    pixels = "return document.querySelector('.map canvas').toDataURL()"
    ended = page.js(pixels)
    step = "Number(document.querySelector('.player output').textContent)"
    assert page.js(f"return {step}") == 500
    page.js("document.querySelector('.play').click()")
    page.until(f"{step} > 5 && {step} < 480")
    assert page.js(pixels) != ended
    page.js("document.querySelector('.play').click()")
    paused = page.js(f"return {step}")
    time.sleep(0.3)
    assert page.js(f"return {step}") == paused
    page.js(
        "const s = document.querySelector('.time input'); s.value = 500;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert page.js(pixels) == ended
    page.js("document.querySelector('.legend button').click()")
    pressed = "return document.querySelector('.legend button').getAttribute('aria-pressed')"
    assert page.js(pressed) == "false"
    assert page.js(pixels) != ended


def sift(page: Page) -> None:
    """Sort, filter, search and turn the pages of the table of trials."""
    column = (
        "const n = [...document.querySelectorAll('#trials-table th')].findIndex(h =>"
        " h.textContent.startsWith(arguments[0]));"
        "return [...document.querySelectorAll('#trials-table tbody tr')].map(r => r.cells[n].textContent)"
    )
    head = (
        "[...document.querySelectorAll('#trials-table th button')]"
        ".find(b => b.textContent === arguments[0]).click()"
    )
    for turn in (1, -1):
        page.js(head, "lr")
        values = [float(v) for v in page.js(column, "lr")]
        assert values == sorted(values, key=lambda v: turn * v)
        assert len(values) == 60
    first = page.js(column, "trial")
    page.js("[...document.querySelectorAll('.pager button')].at(-1).click()")
    assert not set(first) & set(page.js(column, "trial"))
    choose = (
        "const s = document.querySelector(`select[data-column=${arguments[0]}]`);"
        "s.selectedIndex = [...s.options].findIndex(o => o.text === arguments[1]);"
        "s.dispatchEvent(new Event('change'))"
    )
    found = "return document.querySelector('.found').textContent"
    table = synthetic.small()[0].trials
    page.js(choose, "status", "diverged")
    diverged = int((table["status"] == "diverged").sum())
    assert page.js(found) == f"{diverged} of {len(table)} trials"
    assert set(page.js(column, "status")) == {"diverged"}
    page.js(choose, "arm", "GD, lr 0.01")
    some = table[(table["status"] == "diverged") & (table["arm"] == "gd_default")]
    assert page.js(found) == f"{len(some)} of {len(table)} trials"
    page.js("document.querySelector('.reset').click()")
    key = str(table["trial"].iloc[-1])
    page.js(
        "const s = document.querySelector('#explore input'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))",
        key,
    )
    page.until(f"document.querySelector('.found').textContent.startsWith('1 of {len(table)}')")
    assert page.js(column, "trial") == [key]
    page.js("document.querySelector('.reset').click()")


def explore(page: Page) -> None:
    """Walk through the plot with the keyboard, and look closer at a trial."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    canvas = page.driver.find_element(By.CSS_SELECTOR, "#explore canvas")
    canvas.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    about = page.until("document.querySelector('.about h4')?.textContent")
    key = about.split()[-1]
    row = synthetic.small()[0].trials.set_index("trial").loc[key]
    shown = page.js("return document.querySelector('.about').innerText")
    assert f"harness replay {key}" in shown
    assert str(row["task"]) in shown
    canvas.send_keys(Keys.ENTER)
    page.until("document.querySelector('.found').textContent.startsWith('1 of')")
    page.js("document.querySelector('.reset').click()")
    for name in ("steps_to_target", "seconds"):
        for axis in ("task", "seed", "momentum"):
            page.js(
                "for (const [c, v] of [['metric', arguments[0]], ['axis', arguments[1]]]) {"
                "const s = document.querySelector(`#explore select.${c}`); s.value = v;"
                "s.dispatchEvent(new Event('change')); }",
                name,
                axis,
            )
            label = page.js("return document.querySelector('#explore canvas').ariaLabel")
            assert int(label.split()[0]) > 100


def test_the_descent_plays_and_trials_can_be_sifted(page: Page, paper: Path) -> None:
    page.set()
    page.open(paper)
    play(page)
    sift(page)
    explore(page)
    assert page.complaints() == []
    assert page.requests() == []


def test_with_less_motion_wanted_the_descent_moves_in_still_pictures(
    page: Page, paper: Path
) -> None:
    page.set()
    page.reduced_motion()
    page.open(paper)
    page.until("document.querySelector('.map canvas').width > 10")
    seen = page.driver.execute_async_script(
        "const done = arguments[0], seen = new Set();"
        "const read = () => seen.add(document.querySelector('.player output').textContent);"
        "document.querySelector('.play').click(); read();"
        "const timer = setInterval(read, 40);"
        "setTimeout(() => { clearInterval(timer); done([...seen]); }, 2400)"
    )
    assert 2 <= len(seen) <= 4
    assert all(int(step) % 50 == 0 for step in seen)
    page.set()


TYPE = """
let least = Infinity;
for (const svg of document.querySelectorAll('.panel svg')) {
  const all = svg.querySelector('use[href^="#drawn-"], use[href^="#panel-"]');
  const from = all ? document.querySelector(all.getAttribute('href')) : svg;
  const unit = svg.clientWidth / svg.viewBox.baseVal.width;
  for (const text of from.querySelectorAll('text')) {
    least = Math.min(least, unit * parseFloat(getComputedStyle(text).fontSize));
  }
}
return least;
"""  # px of the smallest type on any card


def test_a_claim_shows_the_panel_of_its_place_and_links_both_ways(page: Page, paper: Path) -> None:
    for size in ("phone", "laptop"):
        page.set(size)
        page.open(paper)
        assert page.js(TYPE) >= 9, size
        assert page.js("return document.documentElement.scrollWidth") <= SIZES[size][0]
    panel = "document.querySelector('#claim-3 .panel')"
    words = page.js(f"return [...{panel}.querySelectorAll('text')].map(t => t.textContent)")
    assert "valley" in words and not {"beale", "rosenbrock"} & {*words}
    label = page.js(f"return {panel}.querySelector('svg').getAttribute('aria-label')")
    assert label.startswith("Steps until the target. Here: valley.")
    assert page.js(f"return {panel}.innerText").strip().endswith("From figure 5: valley")
    # a drawing that two claims share is in the page once
    ids = page.js("return [...document.querySelectorAll('[id^=panel-]')].map(e => e.id)")
    assert len({*ids}) == len(ids)
    uses = page.js(
        "return [...document.querySelectorAll('.panel use[href^=\"#panel\"]')].map(u => u.getBBox().width)"
    )
    assert all(width > 100 for width in uses)
    assert page.js("return !!document.querySelector('#claim-3 a[href=\"#figure-steps\"]')")
    assert page.js("return !!document.querySelector('#figure-steps a[href=\"#claim-3\"]')")
    for number in (3, 10):  # the tenth has no figure
        shown = page.js(f"return document.querySelectorAll('#claim-{number} .panel').length")
        assert shown == (number == 3)


NAMELESS = """
const says = (e) => (e.getAttribute('aria-label') || '').trim()
  || (e.getAttribute('aria-labelledby') || '').split(' ').some((id) => document.getElementById(id)?.textContent.trim())
  || [...(e.labels || [])].some((l) => l.textContent.trim()) || (e.getAttribute('alt') || '').trim()
  || (!e.matches('img, svg, canvas, input, select') && e.textContent.trim());
const hidden = (e) => e.closest('[aria-hidden="true"], [hidden], svg[role="img"] *') || !e.getClientRects().length;
return [...document.querySelectorAll('img, svg, canvas, button, input, select, summary, a[href], [tabindex], [role="img"]')]
  .filter((e) => !hidden(e) && !says(e)).map((e) => e.outerHTML.slice(0, 160));
"""


def test_every_picture_and_control_has_a_name_and_focus_is_seen(
    page: Page, board: Path, paper: Path
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    for path in (paper, board):
        page.set()
        page.open(path)
        page.until("document.body.innerText")
        assert page.js(NAMELESS) == [], path.name
        pictures = "return [...document.querySelectorAll('svg[role=img]')].map(e => e.getAttribute('aria-label'))"
        assert all(len(label) > 15 for label in page.js(pictures))
        seen: dict[str, None] = {}
        for _ in range(60):
            ActionChains(page.driver).send_keys(Keys.TAB).perform()
            tag, outline = page.js(
                "const e = document.activeElement; return [e.tagName + ' ' + (e.className.baseVal ?? e.className),"
                " getComputedStyle(e).outlineStyle + parseFloat(getComputedStyle(e).outlineWidth)]"
            )
            assert tag.strip() == "BODY" or outline not in ("none0", "none3", "solid0"), tag
            seen[tag] = None
        assert len(seen) > 2


def test_the_player_works_from_the_keyboard_and_says_where_it_is(page: Page, paper: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.set()
    page.open(paper)
    page.until("document.querySelector('.map canvas').width > 10")
    maps = page.driver.find_element(By.CSS_SELECTOR, ".maps")
    step = "Number(document.querySelector('.player output').textContent)"
    said = "document.querySelector('.player .said').textContent"
    maps.send_keys(Keys.HOME)
    assert page.js(f"return {step}") == 0
    page.until(f"{said}.startsWith('Step 0 of 500: ')")
    maps.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert page.js(f"return {step}") == 1
    maps.send_keys(Keys.SPACE)
    page.until(f"{step} > 5")
    maps.send_keys(Keys.SPACE)
    page.until(f"{said}.startsWith('Paused. Step')")
    paused = page.js(f"return {step}")
    for name, by in (("on", 1), ("back", -1)):
        before = page.js(f"return {step}")
        page.driver.find_element(By.CSS_SELECTOR, f".player .{name}").send_keys(Keys.ENTER)
        assert abs(page.js(f"return {step}") - before - by) <= 1, (name, paused)
    maps.send_keys(Keys.END)
    page.until(f"{said}.startsWith('Step 500 of 500: ') && {said}.includes(' there')")
    label = page.js("return document.querySelector('.map canvas').getAttribute('aria-label')")
    assert label.startswith("beale at step 500: ")
    arm = page.driver.find_element(By.CSS_SELECTOR, ".legend button")
    name = arm.text
    arm.send_keys(Keys.SPACE)
    assert arm.get_attribute("aria-pressed") == "false"
    page.until(f"{said}.includes(' hidden.')")
    assert page.js(f"return {said}").split(" hidden.")[0] in name
    assert page.complaints() == []
    page.set()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board of what is published of this project."""
    root, here = Path(__file__).parents[2], tmp_path_factory.mktemp("published")
    (here / "reports").mkdir()
    (here / "reports" / "published").symlink_to(root / "reports" / "published")
    (here / "studies").symlink_to(root / "studies")
    return report.write_index(here / "reports")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("size", ["phone", "laptop"])
def test_a_deep_link_of_the_board_lands_on_its_claim(
    page: Page, published: Path, size: str, scripts: bool
) -> None:
    page.set(size, scripts=scripts)
    page.driver.get("about:blank")
    page.driver.get(f"{published.as_uri()}#residual.degradation")
    page.until("document.readyState === 'complete' && document.querySelector(':target')")
    place = "document.querySelector(':target').getBoundingClientRect()"
    page.until(f"{place}.top >= 0 && {place}.top < 200")
    bar = page.js("return document.getElementById('board-filters').getBoundingClientRect().bottom")
    assert page.js(f"return {place}.top") >= min(bar, 71) - 1  # not under the filters
    line = "document.querySelector(':target .cite')"
    assert page.js(f"return {line}.open") is scripts
    quoted = page.js(f"return {line}.querySelector('q').textContent")
    for part in ("residual", "claim degradation", "commit", "registration", "run of 2"):
        assert part in quoted
    assert page.js(f"return {line}.querySelector('a').hash") == "#residual.degradation"
    assert page.js("return document.documentElement.scrollWidth") <= SIZES[size][0]
    # every claim has room: no column is pushed out of the page
    widths = page.js(
        "return [...document.querySelectorAll('#board-claims td.statement')].map(c => c.getBoundingClientRect())"
    )
    assert all(
        box["left"] >= 0 and box["right"] <= SIZES[size][0] and box["width"] > 150 for box in widths
    )
    page.set()


def test_how_long_the_board_of_everything_takes_to_open(page: Page, published: Path) -> None:
    """Printed, not asserted: a machine may be busy."""
    page.set()
    times = []
    for _ in range(3):
        page.driver.get("about:blank")
        page.open(published)
        times.append(
            page.js(
                "const n = performance.getEntriesByType('navigation')[0];"
                "const p = performance.getEntriesByType('paint')[0];"
                "return [p ? p.startTime : 0, n.domInteractive, n.loadEventEnd].map(Math.round)"
            )
        )
    rows = page.js("return document.querySelectorAll('#board-claims tbody tr').length")
    print(
        f"{rows} claims, {published.stat().st_size:,} bytes: first paint, ready, loaded (ms) {times}"
    )
    assert rows > 400
    assert [url for url in page.requests() if not url.startswith("data:")] == []


def test_the_board_filters_by_verdict_study_and_deck(page: Page, board: Path) -> None:
    page.set()
    page.open(board)
    _, verdicts = synthetic.small()
    choose = (
        "for (const s of document.querySelectorAll('#board-filters select')) {"
        "s.value = s.dataset.of === arguments[0] ? arguments[1] : '';"
        "s.dispatchEvent(new Event('change')); }"
        "return [...document.querySelectorAll('#board-claims tbody tr')].filter(r => !r.hidden).length"
    )
    held = sum(v.verdict == "supported" for v in verdicts)
    assert page.js(choose, "verdict", "supported") == held
    cited = sum("Kingma" in v.source for v in verdicts)
    assert page.js(choose, "cites", "Kingma & Ba 2015") == cited
    assert page.js(choose, "study", "optimizers") == len(verdicts)
    links = page.js(
        "return [...document.querySelectorAll('#board-claims a.beside')].map(a => a.href)"
    )
    assert links[4].endswith("optimizers/default/report.html#claim-5")
    assert page.complaints() == []


def test_filters_hold_for_lectures_and_studies_too(page: Page, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "published").symlink_to(root / "reports" / "published")
    (tmp_path / "studies").symlink_to(root / "studies")
    page.set()
    page.open(report.write_index(tmp_path / "reports"))
    choose = (
        "const s = document.querySelector(`#board-filters select[data-of='${arguments[0]}']`);"
        "s.value = arguments[1]; s.dispatchEvent(new Event('change'))"
    )
    seen = "return [...document.querySelectorAll(arguments[0])].filter(e => e.offsetParent).map(e => e.dataset[arguments[1]])"
    slides = "return [...document.querySelectorAll('.heading')].filter(e => e.offsetParent).length"
    everything = page.js(slides)
    page.js(choose, "verdict", "refuted")
    assert {*page.js(seen, ".told", "verdict")} == {"refuted"}
    assert 0 < page.js(slides) < everything
    refuting = {*page.js(seen, "#board-claims tbody tr", "study")}
    assert {*page.js(seen, "article.study", "study")} == refuting
    page.js(choose, "study", "residual")
    assert page.js(seen, "article.study", "study") == ["residual"]
    page.js(choose, "study", "")
    page.js(choose, "verdict", "")
    assert page.js(slides) == everything
    assert page.complaints() == []


def test_what_others_wrote_is_shown_and_not_run(page: Page, tmp_path: Path) -> None:
    bad = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    some, verdicts = synthetic.small()
    study = dataclasses.replace(some.study, title=bad, question=bad, fixed={"note": bad})
    trials = some.trials.assign(error=bad, status="failed")
    results = dataclasses.replace(some, study=study, trials=trials)
    said = [dataclasses.replace(v, statement=bad, reason=bad, source=bad) for v in verdicts]
    path = tmp_path / "report.html"
    path.write_text(report.html(results, said, {f.name: "<svg></svg>" for f in study.figures}, {}))
    page.set()
    page.open(path)
    page.until(f"document.body.innerText.includes({json.dumps(bad)})")
    page.until("document.querySelector('#explore:not([hidden])')")  # the scripts of ours have run
    assert not page.js("return window.hacked || document.querySelectorAll('img').length")


@pytest.fixture(scope="module")
def axe(request: pytest.FixtureRequest) -> str:
    """axe-core's source from the npm registry, kept in pytest's cache."""
    folder = Path(request.config.cache.mkdir("axe"))
    path = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        if not shutil.which("npm"):
            pytest.skip("needs npm, to fetch axe-core")
        try:
            done = subprocess.run(
                ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", AXE],
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            pytest.skip("the npm registry did not answer: axe-core could not be fetched")
        if done.returncode or not path.is_file():
            pytest.skip(f"axe-core could not be fetched: {done.stderr.strip()[-200:]}")
    return path.read_text("utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nobody_is_kept_out(page: Page, board: Path, paper: Path, axe: str, dark: bool) -> None:
    for path in (paper, board):
        page.set(dark=dark)
        page.open(path)
        page.until("document.body.innerText")
        page.js(axe)
        found = page.driver.execute_async_script(
            # drawings are images with a label; what is in them is for the eye
            "axe.run({exclude: ['.drawn svg']}, {resultTypes: ['violations']}).then(arguments[0])"
        )
        bad = [
            (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"][:3]])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert bad == [], path.name
        assert len(found["passes"]) > 10
    page.set()


# --- inside MLflow ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reported(tables: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which the tiny study has run."""
    folder = tmp_path_factory.mktemp("reported")
    for name in ("studies", "reports"):
        (folder / name).mkdir()
    (folder / "studies" / "tiny.py").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = harness("run", "tiny", "--scale", "smoke", "--inline")
        assert done.returncode == 0, done.stdout + done.stderr
        yield folder


def test_a_report_from_the_ledger_alone_has_the_same_bytes_each_time(reported: Path) -> None:
    folder = reported / "reports" / "tiny" / "smoke"
    seen = []
    for _ in range(2):
        done = harness("report", "tiny", "--scale", "smoke")
        assert done.returncode == 0, done.stdout + done.stderr
        seen.append({p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert {"report.html", "report.pdf", "verdicts.json"} <= set(seen[0])
    assert seen[0] == seen[1]


@contextmanager
def served() -> Iterator[tuple[int, psutil.Process]]:
    """MLflow's UI as `harness ui` starts it; yields its port and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*HARNESS, "ui", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.3)
        yield port, psutil.Process(server.pid)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_the_mlflow_ui_shows_the_run_and_the_report_works_in_its_viewer(
    page: Page, reported: Path, paper: Path, published: Path
) -> None:
    from selenium.webdriver.common.by import By

    from harness.ledger import Ledger

    ledger = Ledger(reported)
    (parent,) = ledger.parents("tiny", "smoke")
    run, experiment = parent.info.run_id, parent.info.experiment_id
    ledger.client.log_artifact(run, str(paper), "large")  # one with a player
    ledger.client.log_artifact(run, str(published), "board")
    page.set()
    with served() as (port, server):
        ours = [server, *server.children(recursive=True)]
        sockets = [s for process in ours for s in process.net_connections("inet")]
        heard = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
        assert heard == {"127.0.0.1"}
        home = f"http://127.0.0.1:{port}/#/experiments"
        page.driver.get(home)
        page.until("document.body.innerText.includes('tiny')")
        page.driver.get(f"{home}/{experiment}/runs/{run}")
        text = page.until(
            "document.body.innerText.includes('Is momentum faster') && document.body.innerText"
        )
        assert "tiny smoke" in text
        assert "report.html" in {file.path for file in ledger.client.list_artifacts(run)}
        page.driver.get(f"{home}/{experiment}/runs/{run}/artifacts/large/report.html")
        frame = page.until("document.querySelector('iframe.mlflow-html-iframe')")
        page.driver.switch_to.frame(frame)
        page.until(
            "document.body && document.body.innerText.includes('Where each optimizer goes.')"
        )
        assert page.js("return location.protocol") == "blob:"
        # what lies beside a report on disk is not there: no links that lead nowhere
        assert page.js("return document.querySelectorAll('a.beside').length") == 0
        page.js("window.scrollTo(0, 0); document.querySelector('nav a').click()")
        page.until("window.scrollY > 50")
        page.js("document.querySelector('.player').scrollIntoView()")
        play(page)
        sift(page)
        assert [c for c in page.complaints() if "blob:" in c] == []
        page.driver.switch_to.default_content()
        page.driver.get("about:blank")  # else the frame that is there may be found
        page.driver.get(f"{home}/{experiment}/runs/{run}/artifacts/board/index.html")
        page.until("document.querySelector('iframe.mlflow-html-iframe')")
        page.driver.switch_to.frame(
            page.js("return document.querySelector('iframe.mlflow-html-iframe')")
        )
        page.until("document.body && document.getElementById('residual.degradation')")
        assert page.js("return document.querySelectorAll('a.beside').length") == 0
        page.js("document.querySelector('a[href=\"#residual.degradation\"]').click()")
        row = "document.getElementById('residual.degradation')"
        page.until(f"Math.abs({row}.getBoundingClientRect().top) < 200")
        page.until(f"{row}.querySelector('.cite').open")
        page.driver.switch_to.default_content()
        assert not page.driver.find_elements(By.CSS_SELECTOR, "iframe[sandbox*=same-origin]")

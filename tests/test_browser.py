"""The report and MLflow's UI, opened in a real browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HARNESS, TINY, harness

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


@pytest.fixture
def browser(chromium: str, tmp_path: Path) -> Iterator[object]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
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


def wait_for(driver, words: str, seconds: float = 60) -> str:
    deadline = time.time() + seconds
    text = ""
    while time.time() < deadline:
        text = driver.execute_script("return document.body ? document.body.innerText : ''")
        if words in text:
            return text
        time.sleep(0.3)
    raise AssertionError(f"{words!r} did not appear; the page says: {text[:2000]}")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_report_opens_from_disk_loads_nothing_and_fits(
    browser, reported: Path, width: int
) -> None:
    path = reported / "reports" / "tiny" / "smoke" / "report.html"
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get(path.as_uri())
    text = wait_for(browser, "Momentum needs fewer steps.")
    assert "Is momentum faster in the valley?" in text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0


def test_the_board_links_to_the_report(browser, reported: Path) -> None:
    browser.get((reported / "reports" / "index.html").as_uri())
    wait_for(browser, "Momentum needs fewer steps.")
    links = browser.execute_script("return [...document.links].map(a => a.href)")
    assert (reported / "reports" / "tiny" / "smoke" / "report.html").as_uri() in links


def test_the_mlflow_ui_shows_run_note_children_and_report(browser, reported: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*HARNESS, "ui", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ},
    )  # fmt: skip
    try:
        deadline = time.time() + 120
        while time.time() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.3)
        from harness.ledger import Ledger

        (parent,) = Ledger(reported).parents("tiny", "smoke")
        home = f"http://127.0.0.1:{port}/#/experiments/{parent.info.experiment_id}"
        browser.get(f"http://127.0.0.1:{port}/#/experiments")
        wait_for(browser, "tiny")
        browser.get(f"{home}/runs/{parent.info.run_id}")
        text = wait_for(browser, "Is momentum faster in the valley?")
        assert "tiny smoke" in text
        browser.get(f"{home}/runs/{parent.info.run_id}/artifacts/report.html")
        wait_for(browser, "report.html")
        from selenium.webdriver.common.by import By

        deadline, seen = time.time() + 60, ""
        while "Momentum needs fewer steps." not in seen and time.time() < deadline:
            time.sleep(0.5)
            for frame in browser.find_elements(By.TAG_NAME, "iframe"):
                browser.switch_to.frame(frame)
                seen += browser.execute_script(
                    "return document.body ? document.body.innerText : ''"
                )
                browser.switch_to.default_content()
        assert "Momentum needs fewer steps." in seen
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)

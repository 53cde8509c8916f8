"""The wheel, installed where no checkout is in sight, as someone uses it from an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.plan.plan import Plan
from harness.study import catalog
from tests.conftest import TINY

ROOT = Path(__file__).parent.parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel alone; what it depends on is installed already."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("harness", "studies", "reports/published"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for words in (
        ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(source)],
        ["install", "--no-deps", "--no-index", "--target", str(place / "site"), "WHEEL"],
    ):
        wheels = [str(path) for path in place.glob("*.whl")]
        done = subprocess.run(
            [*PIP, *(wheels[0] if word == "WHEEL" else word for word in words)],
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return place / "site"


def environment(site: Path, **more: str) -> dict[str, str]:
    known = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "HARNESS_HOME")
    kept = {key: value for key, value in os.environ.items() if key not in known}
    return {**kept, "PYTHONPATH": str(site), **more}


def use(site: Path, here: Path, *words: str, **env: str) -> str:
    """What the installed command prints in a folder."""
    done = subprocess.run(
        [sys.executable, str(site / "bin" / "harness"), *words], cwd=here, capture_output=True,
        text=True, check=False, timeout=280, env=environment(site, **env),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(site: Path, here: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True,
        timeout=200, env=environment(site),
    )  # fmt: skip
    return done.stdout.strip()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


MADE = {".harness", "mlflow.db", "mlruns", "reports"}


@pytest.fixture(scope="module")
def ran(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study's file, in which it has been run."""
    here, before = tmp_path_factory.mktemp("ran"), files(site)
    (here / "tiny.py").write_text(TINY)
    use(site, here, "run", "tiny.py", "--scale", "smoke", "--inline")
    assert {path.name for path in here.iterdir()} == {"tiny.py", *MADE}
    assert files(site) == before
    return here


def test_a_page_to_start_from_and_a_published_run(site: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    use(site, tmp_path, "new", "mine.py", "--kind", "anything")
    words = ("run", "mine.py", "--scale", "smoke", "--inline")
    use(site, tmp_path, *words, HARNESS_HOME=str(home))
    assert {path.name for path in home.iterdir()} == MADE
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "home"}
    said = use(site, tmp_path, "report", "init_momentum", "--published")  # a short one
    kept = json.loads((ROOT / "reports" / "published" / "init_momentum.json").read_text())
    made = tmp_path / "reports" / "init_momentum" / "published" / "verdicts.json"
    now = {claim["id"]: claim["verdict"] for claim in json.loads(made.read_text())["claims"]}
    assert now == {claim["id"]: claim["verdict"] for claim in kept["claims"]}
    assert f"{kept['trials']['planned']:,} trials" in said and "tracking:" not in said
    assert "are those stated" in use(site, tmp_path, "verify", "init_momentum", "--published")


def test_a_study_of_one_s_own_from_an_empty_folder(site: Path, ran: Path) -> None:
    told = "import harness.study.catalog as c; print(c.__file__, c.SHIPPED, sep='\\n')"
    for place in python(site, ran, told).splitlines():
        assert Path(place).is_relative_to(site)
    assert (site / "harness" / "py.typed").is_file()
    for folder in ("report/templates", "app/pages"):
        assert files(site / "harness" / folder) == files(ROOT / "harness" / folder)
    page = ran / "reports" / "tiny" / "smoke" / "report.html"
    page.unlink()
    assert "verdict" in use(site, ran, "report", "tiny.py", "--scale", "smoke")
    assert page.is_file()


def test_the_project_s_studies_travel_by_name_with_the_same_keys(
    site: Path, tmp_path: Path
) -> None:
    names = sorted(path.stem for path in (ROOT / "studies").glob("*.py"))
    assert [one["name"] for one in json.loads(use(site, tmp_path, "list", "--json"))] == names
    assert json.loads(use(site, tmp_path, "show", "optimizers", "--json"))["claims"]
    assert files(tmp_path) == set()
    code = (
        "from harness.plan.plan import Plan; from harness.study import catalog;"
        "source = catalog.find('optimizers');"
        "print(Plan(catalog.load(source), source, 'smoke').hash(), source.path)"
    )
    there = python(site, tmp_path, code).split()
    source = catalog.find(str(ROOT / "studies" / "optimizers.py"))
    assert there[0] == Plan(catalog.load(source), source, "smoke").hash()
    assert Path(there[1]).is_relative_to(site)


def test_the_ui_opens_a_study_as_model_training_in_a_new_browser(
    site: Path, ran: Path, tmp_path: Path, chromium: str
) -> None:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    from tests.report.test_browser import FLAGS

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, str(site / "bin" / "harness"), "ui", "--port", str(port)], cwd=ran,
        env=environment(site), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, "--window-size=1600,1000", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))

    def until(words: str) -> str:
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            text = str(driver.execute_script("return document.body.innerText"))
            if re.search(words, text):
                return text
            time.sleep(0.2)
        raise AssertionError(f"{words!r} never came: {text[:800]}")

    try:
        home = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        driver.get(home)
        until("Model training")
        driver.get(f"{home}/#/experiments/1")
        seen = until("tiny smoke")
        assert "workflowType=machine_learning" in driver.current_url
        assert "Evaluation runs" not in seen
        assert "Is momentum faster in the valley?" in seen
        driver.get(f"{home}/#/experiments/1/runs?viewStateShareKey=harness-runs")
        assert "1 Runs of the study" in until("tiny.py")  # the column of sources, which it shows
    finally:
        driver.quit()
        server.terminate()
        server.wait(30)

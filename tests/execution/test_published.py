"""What every published run states can be recomputed from its rows by the code that it travels with."""

from __future__ import annotations

import pytest

from harness.execution import verified
from harness.study import catalog

RUNS = sorted(path.stem for path in catalog.PUBLISHED.glob("*.parquet"))


@pytest.mark.parametrize("run", RUNS)
def test_the_published_run_verifies(run: str) -> None:
    """Where this fails, a study's claims or the code that judges them have changed since.

    If a claim was changed on purpose: `harness import reports/published/RUN.parquet`, then either
    `harness run` or, for claims that the run does not judge, `harness register`, both with `--amend
    WHY`, and `harness report --publish`.
    """
    name, _, scale = run.partition("-")
    source = catalog.find(name)
    found = verified.verify_published(catalog.load(source), source, scale or "default")
    assert not [f"{one.name}: {one.detail}" for one in found if one.state == "broken"]

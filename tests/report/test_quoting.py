"""The line by which a verdict is quoted."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from harness import report
from harness.claims import judge
from harness.ledger.results import Results
from harness.report.quoting import digest
from tests import synthetic


def changed(**info: Any) -> tuple[Results, Any]:
    results, verdicts = synthetic.small()
    return dataclasses.replace(results, info={**results.info, **info}), verdicts[4]


def test_the_line_says_what_it_takes_to_find_a_verdict_again() -> None:
    results, verdict = changed()
    verdict = dataclasses.replace(
        verdict, verdict="supported", effect=0.002, low=-0.001, high=0.005
    )
    assert report.quote(results, verdict) == (
        "optimizers, default scale, claim on-digits-tuned-adam-and-tuned-momentum-differ-b: “On digits, "
        "tuned Adam and tuned momentum differ by less than one point”: supported, +0.20 points, interval "
        "−0.10 to +0.50, claimed ± 1, n = 6 seeds; commit 4c1781d0a5c1, registration 9f8e7d6c5b4a."
    )


def test_what_makes_it_less_than_a_test_is_said() -> None:
    results, verdict = changed(partial=True, dirty=True)
    assert "; from an unfinished run; commit 4c1781d0a5c1 with local changes," in report.quote(
        results, verdict
    )
    late = [{"id": verdict.id, "what": "changed", "at": "2026-11-20T10:03:00Z", "trials": 7}]
    results, verdict = changed(claims_changed=late)
    assert "n = 6 seeds; changed after trials had run; commit" in report.quote(results, verdict)


def test_a_claim_that_nothing_was_measured_for_and_no_registration() -> None:
    empty = synthetic.empty()
    results = dataclasses.replace(empty, info={**empty.info, "claims_hash": ""})
    verdict = judge(results.study, results.frame)[0]
    line = report.quote(results, verdict)
    assert "”: not decided, " in line
    assert line.endswith("; commit 4c1781d0a5c1.")
    assert digest(results.info) == "" and digest({}) == ""


def test_the_claims_file_and_the_page_have_every_line() -> None:
    results, verdicts = synthetic.small()
    document = json.loads(json.dumps(report.verdicts_json(results, verdicts)))
    lines = [report.quote(results, verdict) for verdict in verdicts]
    assert [claim["quote"] for claim in document["claims"]] == lines
    assert len(set(lines)) == len(lines)

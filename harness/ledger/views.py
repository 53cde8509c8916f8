"""How MLflow's UI is to show a study: what kind of experiment it is, and which views it offers.

All of it is tags of the experiment. A view is what the UI keeps there itself under "Views", "Save as
new view": which runs it lists, in what order, with which columns, grouped by what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from harness.study import Study

KIND = {"mlflow.experimentKind": "custom_model_development"}
VIEW = "mlflow.sharedViewState."


def tags(study: Study) -> dict[str, str]:
    """The tags of a study's experiment.

    Returns:
        Its kind, the study's question as its note, and three views: the study's runs, whose verdicts
        can be compared; the draws, the best of all first; the confirm trials, their curves averaged
        over the seeds of an arm.
    """
    factors = [_param(name) for name in study.vary]
    tuned = [_param(name) for name in study.nuisance_names()]
    names = list(study.select or study.metrics)
    metrics = [f"metrics.`{name}`" for name in names]
    claims = [f"metrics.`{name}`" for name in ("supported", "refuted", "inconclusive")]
    first = study.metrics[names[0]]
    views = {
        "runs": _view(
            "1 Runs of the study", 3, "tags.harness.plan != ''", ["attributes.`User`",
            "attributes.`Source`", "attributes.`Version`", "attributes.`Dataset`", *claims],
        ),
        "draws": _view(
            f"2 Draws, best {names[0]} first", 2, "tags.harness.phase = 'tune'",
            [_param("arm"), *factors, *tuned, *metrics], order=metrics[0],
            ascending=first.better != "high",
        ),
        "curves": _view(
            "3 Curves, averaged over seeds", 1, "tags.harness.phase = 'confirm'",
            [_param("arm"), *factors, *metrics],
            charts=f"^({'|'.join(map(re.escape, study.metrics))})$",  # not those of a whole run
            group={
                "aggregateFunction": "average",
                "groupByKeys": [{"mode": "param", "groupByData": name} for name in ("arm", *study.vary)],
            },
        ),
    }  # fmt: skip
    shown = {f"{VIEW}harness-{name}": text for name, text in views.items()}
    return {**KIND, "mlflow.note.content": f"**{study.title}** {study.question}", **shown}


def _param(name: str) -> str:
    return f"params.`{name}`"


def _view(
    name: str, place: int, runs: str, columns: Sequence[str], order: str = "attributes.start_time",
    ascending: bool = False, charts: str = "", group: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """A view as the UI keeps it.

    Args:
        name: What its menu says.
        place: In the menu, the highest first, which for the UI is the latest.
        runs: Which ones, in MLflow's words for searches.
        columns: Of the table.
        order, ascending: Of the runs.
        charts: Of which metrics, as a regular expression.
        group: By what they are grouped.
    """
    state = {
        "searchFilter": runs, "orderByKey": order, "orderByAsc": ascending, "startTime": "ALL",
        "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns), "groupBy": group, "hideEmptyCharts": True,
        "useGroupedValuesInCharts": True, "chartsSearchFilter": charts,
    }  # fmt: skip
    view = {"name": name, "createdAt": place, "updatedAt": place, "state": json.dumps(state)}
    return json.dumps(view)

"""MLflow's own server, whose UI takes a browser that sees it for the first time for a trainer's.

MLflow opens every experiment as one of generative AI, its runs filed under "Evaluation runs", until
someone has chosen "Model training" in that browser: it is the browser that keeps the choice, and no
tag of an experiment is asked. Here the first page makes that choice where none has been made, and
leaves MLflow's assistant, which would cover a quarter of the page, to be opened by who wants it.

MLflow finds this module by the entry point `mlflow.app` of this package, as its own plugins.
"""

from __future__ import annotations

import json
from pathlib import Path

from flask import Response, request
from mlflow.server import app as pages
from mlflow.server.fastapi_app import app

CHOICES = {
    "mlflow.workflowType_v1": json.dumps("machine_learning"),
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": json.dumps(True),
}
SCRIPT = f"""<script>
for (const [name, value] of Object.entries({json.dumps(CHOICES)}))
  if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
</script>"""


@pages.before_request  # type: ignore[untyped-decorator]
def first_page() -> Response | None:
    """The first page with the choices made, in place of MLflow's."""
    if request.path != "/":
        return None
    text = Path(str(pages.static_folder), "index.html").read_text("utf-8")
    return Response(text.replace("<head>", f"<head>{SCRIPT}", 1), mimetype="text/html")


__all__ = ["app"]

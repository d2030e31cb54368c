"""MLflow's server with its page as `ui` shows it: in Model-training mode throughout, the assistant's panel closed, and
pictures of a description no wider than their place.

`mlflow server --app-name sweeplora` finds `app` by the entry point in pyproject.toml. On a first visit MLflow's page
opens that panel over a third of the window, and a click on a run leaves Model-training mode, which only the list's
address asks for. A browser remembers both; so the page begins by remembering them, unless a person chose otherwise. A
contact sheet or a table at its full width would push what stands beside the description out of the window.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "sweeplora"
_HEAD = "<head>"
_REMEMBERED = """<script>
{ const first = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": true, "mlflow.workflowType_v1": "machine_learning"};
  for (const [key, value] of Object.entries(first))
    try { localStorage.getItem(key) ?? localStorage.setItem(key, JSON.stringify(value)) } catch {} }
</script>"""
_NARROWED = """<style>
.note-editor-preview-content img { max-width: 100%; height: auto }
.note-editor-preview-content table { display: block; overflow-x: auto; width: 0; min-width: 100% }
</style>"""


def app() -> FastAPI:
    """MLflow's own server, but for the answer at its root; its other addresses are as they were."""
    import mlflow.server
    from fastapi.responses import HTMLResponse
    from mlflow.server.fastapi_app import app as server
    from starlette.routing import Route

    text = (Path(mlflow.server.__file__).parent / "js/build/index.html").read_text(encoding="utf-8")
    page = HTMLResponse(
        text.replace(_HEAD, f"{_HEAD}{_REMEMBERED}{_NARROWED}", 1), headers={"Cache-Control": "no-cache"}
    )
    made: FastAPI = server
    made.router.routes.insert(0, Route("/", lambda _: page))
    return made

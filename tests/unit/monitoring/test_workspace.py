"""The W&B workspace shows what runs log, and is saved into a project with one command."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import cli
from mu_lightning.monitoring.values import merge_values

workspaces = pytest.importorskip("wandb_workspaces.workspaces")

Make = Callable[..., dict[str, Any]]


def test_every_number_of_a_merge_is_in_a_chart_and_every_chart_shows_something(merge_record: Make) -> None:
    from mu_lightning.monitoring.workspace import build_workspace, patterns

    found = patterns(build_workspace("me", "mine"))
    record = merge_record(1, ("en-US", "nl-NL"), targets=("af-ZA", "sq-AL"))
    ours = {*merge_values(record), "train/loss/en-US", "val/accuracy/en-US"}
    ours |= {"speed/utterances_per_second", "memory/process_0_gib"}
    shown = {title: [name for name in ours if re.search(pattern, name)] for title, pattern in found.items()}
    assert [title for title, names in shown.items() if not names] == []
    axes = {"merge/index", "merge/epoch", "merge/step"}
    assert ours - axes - {name for names in shown.values() for name in names} == set()
    assert sorted(shown["Merge weights"]) == [
        "merge/sq-AL/weight/en-US",
        "merge/sq-AL/weight/nl-NL",
        "merge/weight/en-US",
        "merge/weight/nl-NL",
    ]


def test_its_definition_is_one_that_wandb_workspaces_reads(tmp_path: Path) -> None:
    assert cli.main(["workspace", "--project", "mine", "--output-file", str(tmp_path / "workspace.json")]) == 0
    written = json.loads((tmp_path / "workspace.json").read_text())
    from wandb_workspaces.workspaces import internal

    view = internal.View(
        entity="me",
        project=written["project"],
        display_name=written["name"],
        name="",
        id="",
        spec=internal.WorkspaceViewspec.model_validate(written["spec"]),
    )
    read = workspaces.Workspace._from_model(view)
    assert [section.name for section in read.sections] == [
        "Merges",
        "What each merge changed",
        "Members",
        "Speed and memory",
    ]
    kinds = {type(panel).__name__ for section in read.sections for panel in section.panels}
    assert {"LinePlot", "CustomChart"} < kinds
    assert "UnknownPanel" not in kinds


def test_what_is_there_already_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "workspace.json").write_text("mine")
    assert cli.main(["workspace", "--output-file", str(tmp_path / "workspace.json")]) == 2
    assert "already holds" in capsys.readouterr().err
    assert (tmp_path / "workspace.json").read_text() == "mine"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Stands where W&B's API stands; what it was sent."""
    sent: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent.append(request)
            # As W&B's server answers, as far as the client looks.
            viewer = {"id": "1", "entity": "team", "username": "me", "flags": "{}", "teams": {"edges": []}}
            view = {"view": {"id": "7", "name": (request.get("variables") or {}).get("name")}, "inserted": True}
            body = json.dumps({"data": {"viewer": viewer, "upsertView": view, "serverInfo": None}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    web = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{web.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    yield sent
    web.shutdown()
    web.server_close()


def test_one_command_saves_it_into_the_accounts_own_project(
    server: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["workspace", "--project", "mine"]) == 0
    (saved,) = [request["variables"] for request in server if "upsertView" in request["query"]]
    assert (saved["entityName"], saved["projectName"], saved["displayName"]) == ("team", "mine", "Merges")
    assert saved["type"] == "project-view"
    assert "merge/weights_table" in saved["spec"]
    assert "team/mine" in capsys.readouterr().out

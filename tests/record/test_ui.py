"""The command for the UI."""

from __future__ import annotations

from pathlib import Path

from sweeplora.record.ui import ui


def test_the_ui_is_served_to_this_machine_alone_without_telemetry(tmp_path: Path) -> None:
    command = ui(tmp_path / "my runs", 5999)
    assert f"sqlite:///{tmp_path}/my runs/mlflow.db" in command.argv
    assert command.argv[command.argv.index("--host") + 1] == "127.0.0.1"
    assert command.argv[command.argv.index("--port") + 1] == "5999"
    assert command.env["MLFLOW_DISABLE_TELEMETRY"] == "true"

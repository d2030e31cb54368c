"""A server's password is in nothing that is written or sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sweeplora.record.mirror import Mirror
from tests.record.mlflow_store import Contents
from tests.record.servers import closed_port
from tests.record.study_folder import StudyFolder

PASSWORD = "p@ssw0rd-of-mine"


def test_the_mirrors_log_has_no_password_of_a_server_that_does_not_answer(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "runs", uri=f"http://me:{PASSWORD}@127.0.0.1:{closed_port()}")
    study.trial(0, dim=2).complete(0.5)
    study.write("finished")
    argv = [sys.executable, "-X", "faulthandler", "-m", "sweeplora.record", "--runs", str(tmp_path / "runs")]
    argv += ["--study", "rank", "--patience", "0"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=_impatient(), timeout=600
    )
    assert "recording waits" in done.stderr
    assert PASSWORD[1:] not in done.stdout + done.stderr
    sessions = "".join(path.read_text() for path in (tmp_path / "runs" / "rank" / "provenance").rglob("*.json"))
    assert PASSWORD[1:] not in sessions


def _impatient() -> dict[str, str]:
    return {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}


def test_parameters_tags_and_artifacts_have_no_password(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, dim=2)
    secret = f"http://me:{PASSWORD}@host.example"
    config = trial.run.config.read_text() + f"\nnotes:\n  address: {secret}\n  db_password: {PASSWORD}\n"
    trial.run.config.write_text(config)
    trial.complete(0.5)
    trial.run.log.write_text(f"cannot reach {secret}\n")
    known = json.loads(trial.run.trial.read_text())
    trial.run.trial.write_text(json.dumps({**known, "overrides": [f"+notes.address={secret}"]}))
    study.write("finished", command=["sweeplora", f"+notes.address={secret}", f"--password={PASSWORD}"])
    Mirror(study.path, study.tracking).turn()
    store = Contents(study.tracking.uri)
    found = store.runs()
    assert len(found) == 2
    for run in found.values():
        assert PASSWORD[1:] not in repr((run.data.params, run.data.tags))
        for name in store.files(run):
            local = store.client.download_artifacts(run.info.run_id, name)
            assert PASSWORD[1:].encode() not in Path(local).read_bytes(), name

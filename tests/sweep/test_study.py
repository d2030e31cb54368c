from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.rundir.files import read_json
from sweeplora.rundir.record import read_study
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.searchers import grid_points
from tests.sweep.commands import PATIENCE_SECONDS, command, environment, living_in, records, start, until, verdicts
from tests.sweep.drive import main
from tests.sweep.inline import study

GRID = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8)")
DRAWN = ("sweep.name=s", "search=random", "optimizer.lr=tag(log,interval(1e-5,1e-2))")
SLOW = {"steps": 400, "seconds": 0.1}


def numbers(records_: list[dict[str, object]]) -> list[object]:
    return [record["number"] for record in records_]


def test_a_grid_runs_every_point_once_and_ranks_them(tmp_path: Path) -> None:
    code, output, errors = command(tmp_path, *GRID, "network.alpha=choice(1,2)")
    assert (code, errors) == (0, "")
    done = records(tmp_path)
    assert sorted((r["params"]["network.dim"], r["params"]["network.alpha"]) for r in done) == [
        (dim, alpha) for dim in (2, 4, 8) for alpha in (1, 2)
    ]
    assert "best:    trial" in output and "(dim=8 alpha=1)" in output
    assert min(r["value"] for r in done) == pytest.approx(1 + 1 / 100 + 0.0301, abs=1e-4)
    lines = (tmp_path / "runs/s/leaderboard.csv").read_text().splitlines()
    assert len(lines) == 7 and lines[1].startswith("1,")
    assert (tmp_path / "runs/s/plots/map.png").read_bytes().startswith(b"\x89PNG")
    assert "report:  runs/s/report.html" in output
    assert "<h1>s</h1>" in (tmp_path / "runs/s/report.html").read_text()
    assert json.loads((tmp_path / "runs/s/study.json").read_text())["state"] == "finished"
    assert living_in(tmp_path) == []


def test_a_failure_is_tried_again_then_told_and_the_study_goes_on(tmp_path: Path) -> None:
    behaviour = {"fail": [2], "fail_always": [4], "crash": [16]}
    words = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8,16)")
    code, output, _ = command(tmp_path, *words, behaviour=behaviour)
    ended = {r["params"]["network.dim"]: r for r in records(tmp_path)}
    assert {dim: r["verdict"] for dim, r in ended.items()} == {2: "complete", 4: "failed", 8: "complete", 16: "failed"}
    assert {dim: len(r["attempts"]) for dim, r in ended.items()} == {2: 2, 4: 2, 8: 1, 16: 2}
    assert "SIGSEGV" in ended[16]["message"]
    assert "failed: rank 4 does not work" in output
    assert code == 1


def test_diverged_and_refused_trials_count_and_are_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"diverge": [2], "refused": [4]}))
    code, _ = study(tmp_path, *GRID)
    ended = {r["params"]["network.dim"]: r for r in records(tmp_path)}
    assert {dim: r["verdict"] for dim, r in ended.items()} == {2: "diverged", 4: "failed", 8: "complete"}
    assert all(len(r["attempts"]) == 1 for r in ended.values())
    assert ended[4]["message"] == "network.dim=4: give another"
    assert code == 1


def test_a_hopeless_trial_is_stopped_before_its_end(tmp_path: Path) -> None:
    space = parse_space({"network.dim": "choice(8,64)"})
    good_first = next(seed for seed in range(99) if grid_points(space, seed)[0] == {"network.dim": 8})
    words = ("sweep.name=s", "search=grid", f"search.seed={good_first}", "network.dim=choice(8,64)")
    pruner = ("launcher.slots=1", "pruner=median", "pruner.n_startup_trials=1")
    code, _, _ = command(tmp_path, *words, *pruner, behaviour={"steps": 200, "seconds": 0.01})
    good, bad = records(tmp_path)
    assert (good["verdict"], bad["verdict"]) == ("complete", "pruned")
    assert bad["value"] is None and code == 0
    run = next((tmp_path / "runs/s").glob("001-*"))
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"
    assert len((run / "metrics.jsonl").read_text().splitlines()) < 150


def test_a_killed_driver_leaves_no_process_and_the_command_continues_to_the_exact_number(tmp_path: Path) -> None:
    words = (*DRAWN, "sweep.trials=4")
    first = start(tmp_path, *words, behaviour=SLOW)
    until(lambda: len(list(tmp_path.glob("runs/s/*/metrics.jsonl"))) == 2)
    first.kill()
    first.communicate()
    until(lambda: living_in(tmp_path) == [])
    before = {r["number"]: r["params"] for r in records(tmp_path)}
    code, said = study(tmp_path, *words)
    assert code == 0, said
    after = records(tmp_path)
    assert numbers(after) == [0, 1, 2, 3]
    assert all(after[number]["params"] == params for number, params in before.items())
    assert verdicts(tmp_path) == ["complete"] * 4
    assert len({r["params"]["optimizer.lr"] for r in after}) == 4


@pytest.mark.slow
def test_a_fork_server_that_is_killed_again_and_again_costs_no_trial(tmp_path: Path) -> None:
    words = (*GRID, "launcher.slots=1", "launcher.attempts=1")
    driver = start(tmp_path, *words, behaviour={"steps": 20, "seconds": 0.05})
    killed: set[int] = set()
    for _ in range(2):
        until(lambda: bool(set(fork_servers(tmp_path)) - killed))
        (server,) = set(fork_servers(tmp_path)) - killed
        os.kill(server, signal.SIGKILL)
        killed.add(server)
    output, errors = driver.communicate(timeout=PATIENCE_SECONDS)
    assert (driver.returncode, errors) == (0, ""), output
    assert verdicts(tmp_path) == ["complete"] * 3
    assert living_in(tmp_path) == []


def fork_servers(folder: Path) -> list[int]:
    """Process ids of the fork servers that run in a folder."""
    server = b"sweeplora.launch.preload"
    return [pid for pid in living_in(folder) if server in Path(f"/proc/{pid}/cmdline").read_bytes()[:500]]


def test_a_continued_study_keeps_the_threads_of_its_first_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, *DRAWN, "launcher.slots=2", "sweep.trials=2")[0] == 0
    assert study(tmp_path, *DRAWN, "sweep.trials=3")[0] == 0
    assert [(record["processes"], record["threads"]) for record in records(tmp_path)] == [(1, 1)] * 3
    logs = [path.read_text() for path in tmp_path.glob("runs/s/*/log.txt")]
    assert len(logs) == 3 and all("1 threads" in log for log in logs)
    recorded = read_study(tmp_path / "runs" / "s")
    assert recorded is not None and (recorded.processes, recorded.threads) == (1, 1)
    monkeypatch.chdir(tmp_path)
    assert main(["tracking=none", *DRAWN, "sweep.trials=4", "launcher.threads=2"]) == 2
    assert "launcher.threads=2: it began with 1" in capsys.readouterr().err


def test_ctrl_c_stops_the_trials_and_the_same_command_continues(tmp_path: Path) -> None:
    words = (*GRID, "launcher.slots=1")
    first = start(tmp_path, *words, behaviour=SLOW)
    until(lambda: any(tmp_path.glob("runs/s/*/metrics.jsonl")))
    first.send_signal(signal.SIGINT)
    output, errors = first.communicate(timeout=PATIENCE_SECONDS)
    assert (first.returncode, errors) == (130, "")
    assert "stopping at the next step; again to stop now" in output
    assert "the same command continues" in output
    assert verdicts(tmp_path) == ["interrupted"]
    assert living_in(tmp_path) == []
    assert study(tmp_path, *words[:-1])[0] == 0
    assert verdicts(tmp_path) == ["complete"] * 3
    assert len(records(tmp_path)[0]["attempts"]) == 2


def test_a_second_ctrl_c_ends_even_a_training_that_does_not_listen(tmp_path: Path) -> None:
    first = start(tmp_path, *GRID, behaviour=SLOW | {"stubborn": [2, 4, 8], "grace": 9999.0})
    until(lambda: len(list(tmp_path.glob("runs/s/*/metrics.jsonl"))) == 2)
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 130
    until(lambda: living_in(tmp_path) == [])


def test_a_second_driver_of_the_same_study_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path, *GRID, behaviour=SLOW)
    until(lambda: any(tmp_path.glob("runs/s/*/metrics.jsonl")))
    code, said = study(tmp_path, *GRID)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=PATIENCE_SECONDS)
    assert code == 2
    assert said == f"sweep.name=s: another command (process {first.pid}) is running this study; " + (
        "wait for it or give another name"
    )


def test_another_question_under_the_same_name_is_refused_with_a_free_name(tmp_path: Path) -> None:
    study(tmp_path, *GRID)
    code, said = study(tmp_path, *GRID, "train.batch_size=3")
    assert code == 2
    assert "(train.batch_size: 4 -> 3)" in said and "sweep.extend" not in said and "sweep.name=s-2" in said
    assert study(tmp_path, "sweep.name=s", "search=grid", "network.dim=choice(2,4)")[0] == 2


def test_a_known_experiment_is_found_again_across_studies(tmp_path: Path) -> None:
    study(tmp_path, "sweep.name=s", "search=grid", "network.dim=choice(4,8)")
    code, output = study(tmp_path, "sweep.name=t", "search=grid", "network.dim=choice(8,16)")
    assert code == 0 and "known from s/" in output
    found = next(r for r in records(tmp_path, "t") if r["params"]["network.dim"] == 8)
    assert found["attempts"] == []
    assert found["value"] == next(r["value"] for r in records(tmp_path) if r["params"]["network.dim"] == 8)
    run = next((tmp_path / "runs/t").glob(f"{found['number']:03}-*"))
    assert (run / "weights/standin.safetensors").read_bytes() == b"weights"
    assert study(tmp_path, "sweep.name=u", "search=grid", "network.dim=choice(8,16)", "reuse=false")[0] == 0
    assert all(len(r["attempts"]) == 1 for r in records(tmp_path, "u"))


def test_twins_at_the_same_time_train_once(tmp_path: Path) -> None:
    words = ("sweep.name=s", "search=random", "sweep.trials=4", "network.dim=choice(8)", "network.alpha=1")
    code, _, _ = command(tmp_path, *words, behaviour={"steps": 5, "seconds": 0.1})
    assert code == 0
    assert [len(r["attempts"]) for r in records(tmp_path)] == [1, 0, 0, 0]
    assert len({r["value"] for r in records(tmp_path)}) == 1


def test_a_proposal_that_cannot_run_stops_the_study_before_anything_is_started(tmp_path: Path) -> None:
    code, said = study(tmp_path, "sweep.name=s", "search=grid", "network.dim=choice(8,13)")
    assert (code, said) == (2, "network.dim=13: give another number")
    assert not (tmp_path / "runs").exists()


def test_branches_are_searched_with_their_own_ranges(tmp_path: Path) -> None:
    sweeps = tmp_path / "sweeps"
    sweeps.mkdir()
    (sweeps / "b.yaml").write_text(
        "# @package _global_\n"
        "sweep:\n  name: s\n  trials: 6\n  space:\n    optimizer: choice(adamw, prodigy)\n"
        "    optimizer=adamw: {optimizer.lr: 'tag(log, interval(1e-5, 1e-3))'}\n"
        "    optimizer=prodigy: {optimizer.lr: 1.0, optimizer.d_coef: 'choice(0.5, 2.0)'}\n"
    )
    assert study(tmp_path, "+sweep=b", "search=random")[0] == 0
    for record in records(tmp_path):
        params = record["params"]
        if params["optimizer"] == "adamw":
            assert 1e-5 <= params["optimizer.lr"] <= 1e-3 and "optimizer.d_coef" not in params
        else:
            assert params["optimizer.d_coef"] in (0.5, 2.0)
            assert "optimizer.lr=1.0" in record["overrides"]
    assert {r["params"]["optimizer"] for r in records(tmp_path)} == {"adamw", "prodigy"}


def test_several_objectives_are_ranked_by_domination(tmp_path: Path) -> None:
    words = ("sweep.name=s", "search=grid", "network.dim=choice(2,8)", "sweep.objective=[val/loss,loss]")
    assert study(tmp_path, *words)[0] == 0
    assert all(len(record["value"]) == 2 for record in records(tmp_path))
    code, said = study(tmp_path, *words, "pruner=median", "sweep.name=p")
    assert code == 2 and "several objectives cannot be pruned" in said


def test_a_known_experiment_replaces_what_an_interrupted_attempt_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same experiment ends elsewhere between two lives of a study that had begun it."""
    words = ("sweep.name=first", "network.dim=choice(4)", "search=grid", "launcher.slots=1")
    driver = start(tmp_path, *words, behaviour={"steps": 200, "seconds": 0.1})
    until(lambda: any(tmp_path.glob("runs/first/*/metrics.jsonl")))
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=PATIENCE_SECONDS)
    (trial,) = tmp_path.glob("runs/first/000-*")
    (trial / "weights").mkdir(exist_ok=True)
    (trial / "weights" / "old.safetensors").write_bytes(b"half")
    monkeypatch.setenv("STANDIN", json.dumps({"steps": 200}))
    other = study(tmp_path, "sweep.name=second", *words[1:-1])
    assert other[0] == 0, other
    code, output = study(tmp_path, *words[:-1])
    assert code == 0, output
    assert not (trial / "weights" / "old.safetensors").exists()
    record = read_json(trial / "trial.json")
    assert record is not None and record["found"].startswith("second/")


def test_a_key_that_does_not_change_the_training_cannot_be_searched(tmp_path: Path) -> None:
    code, said = study(tmp_path, "launcher.threads=choice(1,2)", "search=grid")
    assert code == 2 and "sweep.space.launcher.threads" in said


def test_a_study_whose_folder_is_gone_asks_for_another_name(tmp_path: Path) -> None:
    words = ("sweep.name=gone", "network.dim=choice(4)", "search=grid")
    assert study(tmp_path, *words)[0] == 0
    shutil.rmtree(tmp_path / "runs" / "gone")
    for changed in ((), ("train.steps=7", "train.epochs=null")):
        code, said = study(tmp_path, *words, *changed)
        assert code == 2 and "its folder is gone" in said and "sweep.name=gone-2" in said
    assert not (tmp_path / "runs" / "gone").exists()


def test_a_closed_terminal_stops_the_study_in_order(tmp_path: Path) -> None:
    terminal, screen = os.openpty()
    argv = [sys.executable, "-m", "drive", "tracking=none", *GRID, "launcher.slots=1"]
    first = subprocess.Popen(
        argv, cwd=tmp_path, env=environment(SLOW), stdin=screen, stdout=screen, stderr=screen, start_new_session=True
    )
    os.close(screen)
    until(lambda: any(tmp_path.glob("runs/s/*/metrics.jsonl")))
    os.close(terminal)
    first.send_signal(signal.SIGHUP)
    assert first.wait(timeout=PATIENCE_SECONDS) == 130
    assert verdicts(tmp_path) == ["interrupted"]
    assert json.loads((tmp_path / "runs/s/study.json").read_text())["state"] == "interrupted"
    assert records(tmp_path)[0]["attempts"][0]["ended"] > records(tmp_path)[0]["attempts"][0]["started"]
    assert living_in(tmp_path) == []

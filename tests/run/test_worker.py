"""Trainings one after another in one worker end as each would in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from sweeplora.launch.workers import resident_bytes
from sweeplora.rundir.folder import RunDir
from tests.run.one_worker import ALGORITHMS, DRAWN, SCORED_LITTLE, SHORT, content, trained
from tests.run.trainings import ROOT, Trainings
from tests.sweep.commands import until

WARM, COLD = 20, 30  # slots that no other test uses; from COLD on each is used once


def test_warm_trainings_have_a_cold_ones_bytes_in_one_process(trainings: Trainings) -> None:
    cases = {
        "drawn": ["network=full", "network.train_norm=true", *DRAWN],
        "dropped": ["network=lokr", "network.rank_dropout=0.3", "network.module_dropout=0.2", "seed=3", *SHORT],
        "again": ["network=full", "network.train_norm=true", *DRAWN],
    }
    pids = set()
    for number, (name, overrides) in enumerate(cases.items()):
        warm, pid = trained(trainings, WARM, f"warm-{name}", *overrides)
        pids.add(pid)
        if name != "again":
            cold, other = trained(trainings, COLD + number, f"cold-{name}", *overrides)
            assert content(warm) == content(cold) and other not in pids, name
            assert content(warm)["status"] == "finished"
    assert len(pids) == 1
    first = content(RunDir(trainings.runs / "warm-drawn"))
    assert content(RunDir(trainings.runs / "warm-again")) == first


def test_a_worker_is_replaced_where_another_base_is_needed_or_a_training_failed(
    trainings: Trainings, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures / "train", tmp_path / "train")
    own = (f"data.dir={tmp_path / 'train'}", *SHORT)
    another, slot = ("train.gradient_checkpointing=true",), WARM + 1
    _, first = trained(trainings, slot, "r-first", *own)
    _, other = trained(trainings, slot, "r-held", *another, *own)
    _, failed = trained(trainings, slot, "r-failed", *another, "loss._target_=os.getcwd", *own)
    _, after = trained(trainings, slot, "r-after", *another, *own)
    caption = next((tmp_path / "train").glob("*.txt"))
    caption.write_text("another caption of this picture")
    run, changed = trained(trainings, slot, "r-changed", *another, *own)
    assert [first == other, other == failed, failed == after, after == changed] == [False, True, False, False]
    assert "another caption of this picture" in (run.path / "dataset.json").read_text()


def test_a_users_changed_module_is_read_anew_by_the_same_worker(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ROOT / "loss_that_a_test_edits.py"
    slot, overrides = WARM + 2, ("loss._target_=loss_that_a_test_edits.Loss", *SHORT)
    head = "CALLS = []\n\nclass Loss:\n    def __init__(self, **given):\n        pass\n\n"
    head += "    def __call__(self, output, target, timesteps, noising):\n"
    code = head + "        CALLS.append(1)\n        return {}\n"
    square = "(output - target).square().flatten(1).mean(1)"
    try:
        file.write_text(code.format(f"{square} * len(CALLS)"))
        runs = [trained(trainings, slot, f"u-{number}", *overrides) for number in range(2)]
        file.write_text(code.format(f"2 * {square}"))
        runs.append(trained(trainings, slot, "u-2", *overrides))
    finally:
        file.unlink()
    losses = [[entry["values"].get("loss") for entry in content(run)["metrics"]] for run, _ in runs]
    assert losses[0] == losses[1] != losses[2]
    assert runs[0][1] == runs[1][1]


def test_what_a_users_module_puts_in_place_of_a_librarys_function_reaches_no_other_training(
    trainings: Trainings,
) -> None:
    file = ROOT / "attention_that_a_test_patches.py"
    slot, common = WARM + 7, ("network.preset=attn-only", *SHORT)
    try:
        file.write_text(
            "import torch.nn.functional as f\nfrom sweeplora.diffusion.losses import Loss\n\n"
            "exact = f.scaled_dot_product_attention\n"
            "f.scaled_dot_product_attention = lambda *given, **more: exact(*given, **more) * 1.5\n"
        )
        own = ("loss._target_=attention_that_a_test_patches.Loss", *common)
        patched, first = trained(trainings, slot, "p-patched", *own)
    finally:
        file.unlink()
    after, second = trained(trainings, slot, "p-after", *common)
    again, third = trained(trainings, slot, "p-again", *common)
    assert content(patched)["status"] == "finished" and content(patched) != content(after) == content(again)
    assert first != second == third


def processor_ticks(pid: int) -> list[str]:
    """User and system time of a process so far."""
    return Path(f"/proc/{pid}/stat").read_text().split()[13:15]


def kept_bytes(pid: int) -> int:
    """The memory of a worker once it has given back its last training's: when it no longer computes."""
    before, now = [""], processor_ticks(pid)
    while before != now:
        time.sleep(1.0)
        before, now = now, processor_ticks(pid)
    return resident_bytes(pid)


@pytest.mark.slow
def test_fifty_trainings_of_all_algorithms_in_one_worker_equal_their_cold_runs(trainings: Trainings) -> None:
    memory, pids, cold = {}, set(), {}
    for number in range(50):
        name = ALGORITHMS[number % len(ALGORITHMS)]
        more = DRAWN if number % 7 == 0 else SHORT
        if (key := (name, more)) not in cold:
            run, _ = trained(trainings, COLD + 10 + number, f"f-cold-{number}", f"network={name}", *more)
            cold[key] = content(run)
        run, pid = trained(trainings, WARM + 3, f"f-warm-{number}", f"network={name}", *more)
        pids.add(pid)
        assert content(run) == cold[key], name
        if number in (2, 49):
            memory[number] = kept_bytes(pid)
    assert len(pids) == 1
    assert memory[49] <= 1.05 * memory[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("network.preset=attn-only", "optimizer=prodigy", "train.batch_size=3"),
        ("network.text_encoders=true", "train.gradient_checkpointing=true"),
        ("model.base_precision=fp8", "train.mixed_precision=bf16"),
        ("train.compile=eager", "network.preset=attn-only"),
        ("data.cache_latents=false", "data.color=true", "data.cache_text=false"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_other_ways_to_hold_a_base_are_warm_as_they_are_cold(trainings: Trainings, overrides: tuple[str, ...]) -> None:
    slot = WARM + 4
    found = []
    for number, network in enumerate(("loha", "locon", "locon")):
        name = f"o-{overrides[0]}-{number}"
        place = slot if number < 2 else COLD + 100 + len(overrides[0])
        run, pid = trained(trainings, place, name, f"network={network}", *overrides, *DRAWN)
        found.append((content(run), pid))
    assert found[1][0] == found[2][0] and found[0][1] == found[1][1]


def test_a_training_stopped_by_a_signal_leaves_a_worker_that_goes_on(trainings: Trainings) -> None:
    slot = WARM + 6
    run = trainings.folder("s-stopped", "train.epochs=500", "sample=none", *SCORED_LITTLE)
    started = trainings.start(run, slot)
    until(lambda: run.metrics.exists() and '"loss"' in run.metrics.read_text())
    assert started.poll() is None and started.pid is not None
    os.kill(started.pid, signal.SIGTERM)
    trainings.wait(started, run)
    assert content(run)["status"] == "interrupted"
    run, pid = trained(trainings, slot, "s-after", *SHORT)
    assert pid == started.pid and content(run)["status"] == "finished"

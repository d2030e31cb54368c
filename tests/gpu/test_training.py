"""On a GPU a training computes what it does on the CPU, goes on exactly, and leaves nothing to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeplora.rundir.metrics import read_metrics
from tests.run.one_worker import ALGORITHMS, DRAWN, SHORT, content, trained
from tests.run.strikes import BUSY, DROPS, assert_same, half_masks, struck, undisturbed
from tests.run.test_train import result
from tests.run.trainings import Trainings

pytestmark = pytest.mark.gpu

WARM, COLD = 20, 30  # slots: one whose worker trains everything, and one for each cold training


@pytest.mark.parametrize("network", ["locon", "lokr", "loha", "dora", "full"])
def test_the_numbers_are_those_of_the_cpu_to_rounding(trainings: Trainings, on_gpu: Trainings, network: str) -> None:
    words = (f"network={network}", "train.epochs=1", "sample=none", "train.validate_every_steps=2")
    here, there = (where.train(f"numbers-{network}", *words) for where in (trainings, on_gpu))
    assert result(there)["status"] == "finished", there.log.read_text()[-2000:]
    wanted, found = read_metrics(here.metrics), read_metrics(there.metrics)
    for key in ("loss", "val/loss", "grad_norm"):
        assert found[key] == {step: pytest.approx(value, rel=2e-4) for step, value in wanted[key].items()}, key


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("float32", ()),
        ("bf16", ("train.mixed_precision=bf16", "train.network_precision=bf16")),
        ("fp16", ("train.mixed_precision=fp16",)),
        ("fp8", ("train.mixed_precision=bf16", "model.base_precision=fp8")),
        ("encoders", ("train.mixed_precision=bf16", "network.text_encoders=true", "rates.text_encoder=1e-4")),
        ("masks", ("data.mask_dir={masks}",)),
        ("checkpointing", ("train.gradient_checkpointing=true",)),
        ("prodigy", ("optimizer=prodigy",)),
        ("adamw8bit", ("optimizer=adamw8bit",)),
        ("schedulefree", ("optimizer=schedulefree",)),
    ],
)
def test_killed_and_started_again_it_ends_in_the_same_bytes(
    on_gpu: Trainings, name: str, overrides: Sequence[str], pictures: Path, tmp_path: Path
) -> None:
    if name == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    if name == "masks":
        half_masks(pictures, tmp_path)
    words = [word.format(masks=tmp_path) for word in overrides]
    wanted = undisturbed(on_gpu, f"{name}-left-alone", *BUSY, *DROPS, *words)
    strikes = ("4 SIGKILL", "11 SIGKILL", "2 SIGTERM", "2 SIGKILL")
    run = struck(on_gpu, f"{name}-killed", strikes, *BUSY, *DROPS, "train.checkpoint_every_steps=2", *words)
    assert "goes on from step" in run.log.read_text()
    assert_same(run, wanted)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_all_algorithms_one_after_another_in_one_worker_end_as_each_does_alone(
    on_gpu: Trainings, precision: str
) -> None:
    pids, peaks = set(), []
    for number, name in enumerate([*ALGORITHMS, *ALGORITHMS]):
        place = number % len(ALGORITHMS)
        words = (f"network={name}", f"train.mixed_precision='{precision}'", *(SHORT if place % 3 else DRAWN))
        run, pid = trained(on_gpu, WARM, f"{precision}-warm-{number}", *words)
        pids.add(pid)
        if number == place and place % 4 == 0:
            cold, _ = trained(on_gpu, COLD + number, f"{precision}-cold-{number}", *words)
            assert content(run) == content(cold), name
        assert content(run)["status"] == "finished", run.log.read_text()[-2000:]
        peaks.append(max(read_metrics(run.metrics)["memory_mib"].values()))
    assert len(pids) == 1
    for name, first, again in zip(ALGORITHMS, peaks, peaks[len(ALGORITHMS) :], strict=False):
        assert again <= 1.05 * first, f"memory was left to {name}"


@pytest.mark.parametrize("backend", ["inductor", "cudagraphs"])
def test_a_compiled_base_is_warm_as_it_is_cold(on_gpu: Trainings, backend: str) -> None:
    slot, words = WARM + 1, (f"train.compile={backend}", "network.preset=attn-only", *DRAWN)
    found = []
    for number, (place, network) in enumerate([(slot, "loha"), (slot, "locon"), (COLD + 50, "locon")]):
        run, pid = trained(on_gpu, place, f"{backend}-{number}", f"network={network}", *words)
        assert content(run)["status"] == "finished", run.log.read_text()[-3000:]
        found.append((content(run), pid))
    assert found[1][0] == found[2][0] and found[0][1] == found[1][1]

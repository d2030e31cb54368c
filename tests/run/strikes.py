"""Trainings that are signalled at chosen moments and started again, and what they have to equal in the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sweeplora.content import sha256
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail, read_metrics
from tests.run.test_train import result
from tests.run.trainings import Trainings

MEASURED = ("images_per_second", "memory_mib")
BUSY = (
    "train.batch_size=2", "train.accumulation=2", "train.epochs=3", "network.preset=attn-only",
    "train.validation_images=1", "sample.prompts=[a red shape]", "sample.steps=2",
    "train.save_every_steps=2", "train.save_last_steps=3", "train.save_last_epochs=1", "train.validate_every_steps=3",
    "sample.every_steps=4", "sample.every_epochs=0", "sample.at_first=true", "data.shuffle_caption=true",
    "data.workers=2",
)  # fmt: skip
"""Steps in the middle of an epoch, files that are deleted, validation and previews at steps of their own."""

DROPS = ("network.rank_dropout=0.1", "network.dropout=0.1")


def struck(trainings: Trainings, name: str, strikes: Sequence[str], *overrides: str) -> RunDir:
    """A training that is signalled at each strike, and started again each time."""
    run = trainings.folder(name, "loss._target_=tests.run.losses.Struck", *overrides)
    (run.path / "strikes").write_text("\n".join(strikes))
    for _ in range(len(strikes) + 1):
        run.result.unlink(missing_ok=True)  # as the supervisor does
        trainings.wait(trainings.start(run), run)
        if not (run.path / "strikes").read_text() and run.result.exists() and result(run)["status"] == "finished":
            return run
    raise AssertionError(run.log.read_text()[-2000:])


def half_masks(pictures: Path, into: Path) -> None:
    """Write a mask of half weight for every training picture."""
    for picture in (pictures / "train").glob("*.png"):
        Image.new("L", Image.open(picture).size, 128).save(into / picture.name)


def undisturbed(trainings: Trainings, name: str, *overrides: str) -> RunDir:
    return trainings.train(name, "loss._target_=tests.run.losses.Struck", *overrides)


def assert_same(run: RunDir, other: RunDir) -> None:
    """Both ended alike: every file, every number that is not a speed, each logged once."""
    ours, theirs = result(run), result(other)
    assert ours["status"] == theirs["status"] == "finished", run.log.read_text()[-2000:]
    for key in ("message", "step", "steps", "weights", "weights_sha256"):
        assert ours[key] == theirs[key], key
    for folder in ("weights", "samples"):
        assert _files(run.path / folder) == _files(other.path / folder), folder
    points = MetricsTail(run.metrics).poll()
    assert len(points) == len({(point.key, point.step) for point in points}), "something is logged twice"
    found, wanted = read_metrics(run.metrics), read_metrics(other.metrics)
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == values or (key in MEASURED and found[key].keys() == values.keys()), key
    assert not run.checkpoints.exists() and not list(run.path.rglob(".*.tmp"))


def _files(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.glob("*")}

"""From which states a configuration can go on, and what is said about its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from sweeplora.check.configuration import check
from sweeplora.config.compose import compose
from sweeplora.content import sha256
from sweeplora.errors import UserError
from sweeplora.experiment import Experiment
from sweeplora.rundir.signature import signed_part
from sweeplora.rundir.state import About, here, read_about
from sweeplora.tensors.tree import write_tree

Checked = Callable[..., Experiment]
STEP, STEPS = 6, 8


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (number * 40, 9, 9)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"picture {number}")
    return folder


@pytest.fixture
def checked(pictures: Path, tiny_model: Path, tmp_path: Path) -> Checked:
    """A check of these words with `train.resume` at the state of a training of eight epochs of one step."""
    common = [
        f"runs={tmp_path / 'runs'}", f"model.path={tiny_model}", "data=folder", f"data.dir={pictures}", "sample=none",
    ]  # fmt: skip

    def run(
        *words: str, step: int = STEP, code: str = "", before: tuple[str, ...] = (), best: tuple[int, str] = (0, "")
    ) -> Experiment:
        parent = check(compose([*common, "train.epochs=8", *before]))
        origin = here(parent.signature, parent.contents, {**parent.code, **({"torch": code} if code else {})})
        state = tmp_path / "state.safetensors"
        about = asdict(About(origin, step, STEPS, signed_part(parent.config), *best))
        write_tree(state, {}, about)
        return check(compose([*common, *before, f"train.resume={state}", *words]))

    return run


def refusal(checked: Checked, *words: str, **other: object) -> str:
    with pytest.raises(UserError) as caught:
        checked(*words, **other)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_longer_training_with_a_constant_rate_is_another_experiment_and_says_how_far_it_goes(
    checked: Checked,
) -> None:
    constant = ("scheduler=constant",)
    longer = checked("train.epochs=20", before=constant)
    assert longer.steps == 20 and longer.signature != checked("train.epochs=20", step=7, before=constant).signature
    assert f"goes on from step {STEP}, trained to step {STEPS} before, now to step 20" in longer.notices


def test_a_schedule_that_depends_on_the_length_is_said_and_where_it_jumps_refused(checked: Checked) -> None:
    cosine = ("scheduler=cosine",)
    said = refusal(checked, "train.epochs=20", before=cosine)
    assert said.startswith("train.epochs=20: scheduler=cosine would jump, 0.309 of the full learning rate at the last")
    chosen = checked("train.epochs=20", "scheduler=constant", before=cosine)
    assert "scheduler=constant: 0.309 of the full learning rate at the last step, 1 at the next" in chosen.notices
    near = [
        line for line in checked("train.epochs=9", step=1, before=cosine).notices if "depends on the length" in line
    ]
    assert near and "scheduler=cosine" in near[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train.epochs=6",), "train.epochs=6: are 6 steps in all, and the state is at step 6 of 8; give more"),
        (("train.epochs=9", "network.dim=3"), "network.dim=3: the state was trained with"),
        (("train.epochs=9", "network=loha"), "network."),
        (("train.epochs=9", "optimizer=sgd"), "optimizer."),
        (("train.epochs=9", "train.batch_size=2"), "train.batch_size=2: the state was trained with 4"),
        (("train.epochs=9", "seed=5"), "seed=5: the state was trained with 0"),
        (("train.epochs=9", "train.resume=nowhere"), "train.resume=nowhere: there is no such file"),
    ],
)
def test_what_a_state_cannot_go_on_with_is_refused_by_name(checked: Checked, words: tuple[str, ...], told: str) -> None:
    assert told in refusal(checked, *words, before=("scheduler=constant",))


def test_other_pictures_another_library_and_another_file_are_refused(checked: Checked, pictures: Path) -> None:
    before = ("scheduler=constant",)
    assert "was made with torch 1.0, here is" in refusal(checked, "train.epochs=9", before=before, code="1.0")
    run = checked("train.epochs=9", before=before)
    words = [word for word in run.overrides if not word.startswith("train.epochs")]
    (pictures / "0.txt").write_text("another caption")
    with pytest.raises(UserError, match=r"data\.dir.*has changed since the state was written"):
        check(compose([*words, "train.epochs=9"]))
    with pytest.raises(UserError, match="is no state of a training"):
        check(compose([*words, "train.epochs=9", f"train.resume={pictures / '0.png'}"]))


def test_outputs_and_the_rate_may_change(checked: Checked) -> None:
    words = ("optimizer.lr=1e-4", "train.save_every_epochs=2", "train.keep_state=true", "loss=huber", "name=other")
    before = ("scheduler=constant", "data.val_split=0.3", "train.patience=3")
    assert checked("train.epochs=9", *words, before=before).steps == 9
    probed = ("train.patience=0", "train.probe_images=2", "train.probe_every_epochs=1")
    assert checked("train.epochs=9", *probed, before=before).steps == 9


def test_a_state_has_no_code_of_its_own_run(checked: Checked, tmp_path: Path) -> None:
    run = checked("train.epochs=9", before=("scheduler=constant",))
    state = tmp_path / "state.safetensors"
    about = read_about(state)
    assert about is not None
    made = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    for scheduler in (made, {"_target_": "torch.optim.lr_scheduler.ChainedScheduler", "schedulers": [made]}, None):
        config = {**about.config, "scheduler": scheduler}
        write_tree(state, {}, asdict(replace(about, config=config)))
        again = check(compose(list(run.overrides)))
        assert "scheduler=constant: what the schedule before gave is not computed" in again.notices[-1]
    assert not (tmp_path / "made").exists()


def test_it_is_said_what_becomes_of_the_best_validation_so_far(checked: Checked, tmp_path: Path) -> None:
    before = ("scheduler=constant", "data.val_split=0.3", "train.patience=3")
    kept = tmp_path / "best.safetensors"
    kept.write_bytes(b"the best")
    best = (4, sha256(kept))

    def told(*words: str) -> list[str]:
        made = checked("train.epochs=9", *words, before=before, best=best)
        return [line for line in made.notices if "val/loss was best at step 4" in line]

    stays = "val/loss was best at step 4, whose weights stay the result until a validation is better"
    assert told() == told("train.patience=5") == [stays]
    assert told("train.patience=0") == []
    anew = "its weights are not beside the state, as best.{}: the best from step 6 on counts"
    assert anew.format("ckpt") in told("train.save_as=ckpt")[0]
    kept.write_bytes(b"a later best")
    assert anew.format("safetensors") in told()[0]

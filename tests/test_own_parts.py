"""The page about a user's own parts: its files, written beside each other and used, do what it says."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, nn

from sweeplora.__main__ import main
from sweeplora.check.combinations import check_loss, check_optimizer
from sweeplora.check.shape import check_shape
from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.diffusion.noise import PerturbsInput
from sweeplora.diffusion.targets import Noising
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter

PAGE = (Path(__file__).parents[1] / "docs" / "own-parts.md").read_text()
FILES = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(block)[3:] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with the page's files, which commands run in."""
    for name, text in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def config(word: str) -> dict[str, Any]:
    """What the page's command with this word composes to, its shape found good."""
    command = next(command for command in COMMANDS if any(word in part for part in command))
    found: dict[str, Any] = compose(command).config
    check_shape(found)
    check_optimizer(found["optimizer"], found["scheduler"], found["rates"])
    check_loss(found["loss"], "epsilon")
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_composes_and_its_shape_is_good(command: list[str]) -> None:
    check_shape(compose(command).config)


def test_the_blocks_are_ten_lines_or_hardly_more() -> None:
    assert {name.rpartition(".")[2] for name, _ in FILES} == {"py", "yaml"}
    for name, text in FILES:
        assert len([line for line in text.splitlines() if line.strip()]) <= 12, name


def test_the_optimizer_gets_its_arguments_and_learns() -> None:
    optimizer_node = config("LodeW")["optimizer"]
    weight = nn.Parameter(torch.ones(3))
    optimizer = build(optimizer_node)([{"name": "unet", "params": [weight]}])
    assert optimizer.param_groups[0]["lr"] == 4e-4
    assert optimizer.param_groups[0]["beta"] == 0.95
    before = float(weight.detach().square().sum())
    for _ in range(5):
        weight.grad = 2 * weight.detach()
        optimizer.step()
    assert float(weight.detach().square().sum()) < before


def test_the_noise_is_each_samples_own_and_its_channels_share_what_was_asked() -> None:
    noise = build(config("noise.share")["noise"])
    assert not isinstance(noise, PerturbsInput)
    latents = torch.zeros(400, 4, 6, 6)
    drawn = noise(latents, [Generator().manual_seed(seed) for seed in range(400)])
    assert drawn.shape == latents.shape
    assert drawn.std().item() == pytest.approx(1.0, rel=0.02)
    assert (drawn[:, 0] * drawn[:, 1]).mean().item() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(drawn[7:8], noise(latents[7:8], [Generator().manual_seed(7)]))


def test_the_loss_is_per_sample_and_takes_a_mask() -> None:
    loss = build(config("loss.knee")["loss"])
    output = torch.stack([torch.full((4, 2, 2), 1.0), torch.full((4, 2, 2), 3.0)])
    noising = Noising(torch.linspace(0.99, 0.01, 1000), "epsilon")
    arguments = (output, torch.zeros_like(output), torch.tensor([1, 2]), noising)
    assert loss(*arguments).tolist() == pytest.approx([1 / 3, 9 / 7])
    assert loss(*arguments, torch.zeros(2, 1, 2, 2)).tolist() == [0.0, 0.0]


def test_the_schedule_and_a_torch_class_give_multipliers() -> None:
    saw = build(config("scheduler.teeth")["scheduler"])
    assert [saw(step, 6) for step in range(6)] == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5])
    annealed = build(config("CosineAnnealingLR")["scheduler"])
    assert annealed(25, 200) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_a_class_that_perturbs_the_input_is_known_by_its_method() -> None:
    class Mine:
        def __call__(self, latents: Any, generators: Any) -> Any: ...

        def for_input(self, noise: Any, generators: Any) -> Any: ...

    assert isinstance(Mine(), PerturbsInput)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["optimizer=any", "optimizer._target_=my_optim.LodeX"],
            "optimizer._target_=my_optim.LodeX: there is no LodeX",
        ),
        (["optimizer=any", "optimizer._target_=my_optimm.LodeW"], "there is no package my_optimm here"),
        (["optimizer=any", "optimizer._target_=my_optim.LodeW", "+optimizer.beat=1"], "optimizer.beat=1: my_optim"),
        (["loss=soft", "~loss.knee", "+loss.kne=1.0"], "loss.kne=1.0: my_loss.soft takes no kne"),
    ],
)
def test_a_mistake_in_naming_them_is_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        check_shape(compose(overrides).config)


def test_an_annotated_argument_of_ones_own_is_checked_by_its_type(folder: Path) -> None:
    text = (folder / "my_noise.py").read_text().replace("*, share)", "*, share: float)")
    (folder / "typed_noise.py").write_text(text)
    (folder / "conf/noise/typed.yaml").write_text("_target_: typed_noise.shared\n_partial_: true\nshare: much\n")
    with pytest.raises(UserError, match=r"noise\.share=much: expected a number"):
        check_shape(compose(["noise=typed"]).config)


def test_the_pages_tracker_reads_a_run_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir.create(folder / "runs/single/mine", "seed: 0\n")
    writer = MetricsWriter(run.metrics)
    writer.write(3, {"loss": 0.5})
    writer.close()
    assert main(["lines", "mine"]) == 0
    assert json.loads(capsys.readouterr().out) | {"time": 0} == {"step": 3, "key": "loss", "value": 0.5, "time": 0}

"""A data set class of a user's own: one file with a class and one YAML file, and no list is edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.check.configuration import check
from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.data.batches import plan
from sweeplora.data.cache import Cache
from sweeplora.data.captions import Moment
from sweeplora.data.dataset import Dataset
from sweeplora.data.loader import Loader
from sweeplora.errors import UserError
from tests.data.folders import picture
from tests.data.toy import Toy

CLASS = '''
"""Images listed in a table: a file, a tab and a caption on every line."""
from pathlib import Path
from sweeplora.data.buckets import Size
from sweeplora.data.captions import CaptionRules
from sweeplora.data.dataset import Dataset, Picture, Treatment
from sweeplora.data.verdicts import ImageVerdicts

RULES = CaptionRules("", "", ",", None, False, 0, None, 0.0, 0, 0.0, False, 1, 0, ())
TREATMENT = Treatment(RULES, flip=False, color=False, random_crop=False, is_reg=False)


class Table:
    def __init__(self, name: str, table: str, held_out: int):
        self.name, self.table, self.held_out = name, Path(table), held_out

    def read(self, divisor: int, default_resolution: int, cache: Path | None = None) -> Dataset:
        rows = [line.split("\\t") for line in self.table.read_text().splitlines()]
        paths = [self.table.parent / file for file, _ in rows]
        size = Size(default_resolution, default_resolution)
        pictures = [
            Picture(path, path.name, caption, *one.size, 1, one.sha256, size, size, TREATMENT, None)
            for path, (_, caption), one in zip(paths, rows, ImageVerdicts(cache).judge(paths), strict=True)
        ]
        return Dataset(
            name=self.name, train=tuple(pictures[self.held_out :]), validation=tuple(pictures[: self.held_out]),
            cache_text=None, cache_latents=None, frozen_latents=False, weighted_captions=False,
            prior_loss_weight=1.0, validation_seed=0, resolution=size, workers=0, vae_batch_size=1,
            notices=(f"{len(pictures)} rows",),
        )
'''  # fmt: skip
YAML = "_target_: my_data.Table\nname: table\ntable: list.tsv\nheld_out: 1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder that holds the class, its configuration and a table of three images."""
    (tmp_path / "my_data.py").write_text(CLASS)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "table.yaml").write_text(YAML)
    for number in range(3):
        picture(tmp_path / f"{number}.png", caption=None, seed=number)
    (tmp_path / "list.tsv").write_text("".join(f"{number}.png\tcaption {number}\n" for number in range(3)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_it_is_chosen_checked_read_and_loaded(folder: Path, tiny_model: Path) -> None:
    words = ["data=table", f"model.path={tiny_model}", "sample=none", "launcher.device=cpu"]
    experiment = check(compose(words))
    assert "3 rows" in experiment.notices
    (folder / "list.tsv").write_text("0.png\tcaption 0\n1.png\tanother\n2.png\tcaption 2\n")
    assert check(compose(words)).signature != experiment.signature
    dataset: Dataset = build(compose(words).config["data"]).read(16, 64, folder / "runs" / "cache")
    latents = Cache(folder / "runs" / "cache", lambda what, done, missing: None).latents(dataset, Toy(), "v")
    (batch,) = plan(dataset, batch_size=2, seed=0, epoch=1)
    loaded = Loader(dataset, latents, Toy().encode_text, seed=0).load(batch, Moment(1, 0, 1))
    assert sorted(loaded.captions) == ["another", "caption 2"]
    assert loaded.latents().shape == (2, 3, 16, 16)


def test_its_arguments_are_checked_like_any_others() -> None:
    with pytest.raises(UserError, match=r"data.held_out=some: expected a whole number"):
        check(compose(["data=table", "data.held_out=some"]))

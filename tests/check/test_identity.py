"""What a signature is made of: the contents that a run reads, and the code that makes its result."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from sweeplora.check import identity
from sweeplora.check.configuration import check
from sweeplora.config.compose import compose


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGBA", (64, 64), (number * 40, 9, 9, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"one, two {number}")
    return folder


def signature(pictures: Path, model: Path, tmp_path: Path, *overrides: str) -> str:
    common = [f"runs={tmp_path / 'runs'}", f"model.path={model}", "data=folder", f"data.dir={pictures}", "sample=none"]
    return check(compose([*common, *overrides])).signature


def test_where_things_lie_changes_no_signature(pictures: Path, tiny_model: Path, tmp_path: Path) -> None:
    masks = Path(shutil.copytree(pictures, tmp_path / "masks"))
    one = signature(pictures, tiny_model, tmp_path, f"data.mask_dir={masks}", "data.repeats=2")
    moved = masks.rename(tmp_path / "moved")
    other = Path(shutil.copytree(pictures, tmp_path / "elsewhere"))
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    assert signature(other, model, tmp_path, f"data.mask_dir={moved}", "data.repeats=2") == one
    assert signature(other, model, tmp_path, f"data.mask_dir={moved}", "data.repeats=2", "data.workers=0") == one


def test_what_changes_the_result_changes_the_signature(pictures: Path, tiny_model: Path, tmp_path: Path) -> None:
    reg = Path(shutil.copytree(pictures, tmp_path / "reg"))
    masks = Path(shutil.copytree(pictures, tmp_path / "masks"))
    subsets = "data.dir=null", f"data.subsets=[{{dir: '{pictures}'}}, {{dir: '{reg}', caption_prefix: a}}]"
    ways = [
        (),
        ("data.repeats=2",),
        ("data.alpha_mask=true",),
        (f"data.mask_dir={masks}",),
        (f"data.reg_dir={reg}",),
        (f"data.reg_dir={reg}", "data.prior_loss_weight=0.5"),
        subsets,
        (subsets[0], subsets[1].replace("caption_prefix: a", "repeats: 2")),
        ("data.weighted_captions=true",),
        ("model.max_tokens=150",),
        ("model.vae_precision=bf16",),
        (f"model.vae={tiny_model / 'vae'}",),
        ("train.network_precision=bf16", "train.mixed_precision=bf16"),
    ]
    found = {way: signature(pictures, tiny_model, tmp_path, *way) for way in ways}
    assert len(set(found.values())) == len(ways)
    (reg / "0.txt").write_text("another")
    assert signature(pictures, tiny_model, tmp_path, f"data.reg_dir={reg}") != found[(f"data.reg_dir={reg}",)]


def test_an_edit_in_a_users_file_or_in_one_that_it_imports_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ones_steps.py").write_text("FACTOR = 2\n")
    (tmp_path / "ones_optim.py").write_text("import torch\nfrom ones_steps import FACTOR\nclass Mine: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()

    def code() -> str:
        return dict(identity._code.__wrapped__(("ones_optim.Mine",), tmp_path / "code.json"))["source"]

    first = code()
    assert code() == first
    (tmp_path / "ones_steps.py").write_text("FACTOR = 3\n")
    second = code()
    (tmp_path / "ones_optim.py").write_text("from ones_steps import FACTOR\nclass Mine: x = 1\n")
    assert len({first, second, code()}) == 3
    assert not {"ones_optim", "ones_steps"} & set(sys.modules)


def test_code_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "ones_reader.py").write_text("FACTOR = 2\nclass Mine: ...\n")
    monkeypatch.syspath_prepend(str(mine))
    importlib.invalidate_caches()
    read: list[int] = []
    hashed = identity._source_hash

    def counted(modules: Iterable[str]) -> str:
        read.append(1)
        return hashed(modules)

    monkeypatch.setattr(identity, "_source_hash", counted)

    def code() -> str:
        memo = tmp_path / "runs/cache/code.json"
        return dict(identity._code.__wrapped__(("ones_reader.Mine",), memo))["source"]

    first = code()
    assert code() == first and len(read) == 1
    (mine / "another.py").write_text("")  # it could be what an import finds now
    assert code() == first and len(read) == 2
    assert code() == first and len(read) == 2
    (mine / "ones_reader.py").write_text("FACTOR = 3\nclass Mine: ...\n")
    assert code() != first and len(read) == 3


_WRITTEN = """# what it is
class Mine:
    def step(self, rate):
        if rate > 1:
            return rate * 2
        return rate
"""
_SAME = [
    _WRITTEN.replace("# what it is", "# another comment\n\n"),
    _WRITTEN.replace("rate * 2", "(rate*2)  # twice"),
    _WRITTEN.replace("class Mine:", 'class Mine:\n    """Mine."""\n\n    # a note'),
    '"""About the module."""\n' + _WRITTEN.replace("rate):", 'rate):\n        """A step."""'),
    _WRITTEN.replace("rate > 1:", "(\n            rate\n            > 1\n        ):"),
]
_OTHER = [
    _WRITTEN.replace("rate * 2", "rate * 3"),
    _WRITTEN.replace("rate > 1", "rate >= 1"),
    _WRITTEN.replace("return rate\n", "return 'rate'\n"),
    _WRITTEN.replace("rate):", "rate=1):"),
    _WRITTEN.replace("        return rate\n", "        return rate + 0\n"),
]


def _hash_of(tmp_path: Path, text: str) -> str:
    (tmp_path / "ones_rates.py").write_text(text)
    return dict(identity._code.__wrapped__(("ones_rates.Mine",), tmp_path / "code.json"))["source"]


def test_a_comment_a_docstring_and_the_layout_leave_the_code_the_same_and_a_number_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    first = _hash_of(tmp_path, _WRITTEN)
    for text in _SAME:
        assert _hash_of(tmp_path, text) == first, text
    others = [_hash_of(tmp_path, text) for text in _OTHER]
    assert len({first, *others}) == len(_OTHER) + 1

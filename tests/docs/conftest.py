"""A folder to work in as the pages have it, with the faults that troubleshooting speaks of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeplora.config.catalog import shipped
from tests.docs.pages import SDXL

CATS = shipped("assets") / "data" / "new-subject" / "train"
_COMMAND = (
    f"accelerate launch sdxl_train_network.py --pretrained_model_name_or_path={SDXL} --train_data_dir=pictures/cats"
    " --network_module=networks.lora --network_dim=8 --network_alpha=4 --learning_rate=1e-4 --max_train_epochs=10"
    " --resolution=64 --mixed_precision=bf16 --caption_extension=.txt --output_name=cats\n"
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures and files that the pages speak of, which commands run in."""
    pictures = tmp_path / "pictures"
    shutil.copytree(CATS, pictures / "cats")
    shutil.copytree(CATS, pictures / "uncaptioned")
    (pictures / "uncaptioned" / "black-cat.txt").unlink()
    shutil.copytree(CATS, pictures / "damaged")
    (pictures / "damaged" / "cat.png").write_bytes(b"an error page instead of an image")
    (pictures / "empty").mkdir()
    (tmp_path / "prompts.txt").write_text("a cat on a sofa --w 64 --cfg 7\n")
    (tmp_path / "train.sh").write_text(_COMMAND)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path

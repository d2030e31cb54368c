"""Shared by many tests: a tiny random model, a few pictures, and a parent that forks real trainings."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import sys

# One thread a process: the suite runs beside other work, and forks must not inherit a pool of threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from sweeplora.launch.gpus import visible_gpus
from tests.once import made_once
from tests.process_state import changes, process_state
from tests.run.trainings import Trainings

# `nohup make test` ignores the signal of a closed terminal, and `make test &` in a script Ctrl-C: the tests send both,
# and every process that a test starts would inherit that they are ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG_FIRST = (
    *("browser/", "sweep/test_kills.py", "record/restore/", "run/", "sweep/", "record/", "launch/", "nightly/"),
    *("networks/test_own_algorithm.py", "commands/", "docs/", "config/test_files.py", "networks/", "models/"),
    *("convert/", "test_guide.py", "training/", "tools/", "test_imports.py"),
)
"""Files whose few tests start commands and trainings, longest first, then others that take some seconds."""


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs, on which numbers are others, from all tests but those that are about GPUs."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that all workers end together."""
    here = Path(__file__).parent
    items.sort(key=lambda item: _place(item.path.relative_to(here).as_posix()))


def pytest_collection_finish() -> None:
    """Leave what is there by now, thousands of tests and all of torch, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


def _place(file: str) -> int:
    """The place of a file's tests among the others."""
    return next((place for place, start in enumerate(LONG_FIRST) if file.startswith(start)), len(LONG_FIRST))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU or a browser where there is none; with SWEEPLORA_BROWSER=required the latter fails."""
    if item.get_closest_marker("gpu") is not None and not visible_gpus():
        pytest.skip("no GPU is visible: make test-gpu")
    if item.get_closest_marker("browser") is None or shutil.which("chromium") is not None:
        return
    if os.environ.get("SWEEPLORA_BROWSER") == "required":
        pytest.fail("there is no chromium: make browser", pytrace=False)
    pytest.skip("there is no chromium: make browser")


@pytest.fixture(autouse=True)
def _the_process_is_as_before() -> Iterator[None]:
    """A test, and a command that it runs in this process, leaves nothing that the next test stumbles over."""
    before = process_state()
    yield
    left = changes(before, process_state())
    assert not left, "the test left this changed in its process:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _users_modules_end_with_their_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`main` finds modules of the folder it runs in, and Python keeps them: two tests may have one of the same name."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path_factory.getbasetemp()):
            del sys.modules[name]
            importlib.invalidate_caches()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of SDXL's architecture and random weights."""
    from sweeplora.models import tiny

    return made_once(tmp_path_factory, "sdxl", lambda folder: tiny.build(folder / "tiny")) / "tiny"


@pytest.fixture(scope="session")
def tiny_sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of SD 1.5's architecture and random weights."""
    from sweeplora.models import tiny

    return made_once(tmp_path_factory, "sd15", lambda folder: tiny.build(folder / "tiny", "sd15")) / "tiny"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train/` with 7 square, 3 wide and 2 tall pictures, `val/` with 3, all different and captioned."""
    folder = tmp_path_factory.mktemp("pictures")
    sizes = [(64, 64)] * 7 + [(96, 48)] * 3 + [(40, 80)] * 2
    for index, size in enumerate(sizes):
        _picture(folder / "train", f"p{index:02d}", size, index)
    for index, size in enumerate([(64, 64), (64, 64), (96, 48)]):
        _picture(folder / "val", f"v{index}", size, 100 + index)
    return folder


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """Four of the square pictures, a batch: what is not about data trains on them."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("p00", "p01", "p02", "p03"):
        for suffix in ("png", "txt"):
            shutil.copy(pictures / "train" / f"{name}.{suffix}", folder)
    return folder


@pytest.fixture(scope="session")
def small(tiny_model: Path, pictures: Path, few: Path) -> list[str]:
    """The words of a small training, its length excepted."""
    data = ["data=folder", f"data.dir={few}", f"data.val_dir={pictures / 'val'}"]
    little = ["train.epochs=null", "train.validation_timesteps=2", "train.probe_images=0", "sample=none"]
    return [f"model.path={tiny_model}", *data, *little, "tracking=none"]


def _picture(folder: Path, name: str, size: tuple[int, int], number: int) -> None:
    folder.mkdir(exist_ok=True)
    image = Image.new("RGB", size, (40 + number * 2 % 200, 255 - number * 7 % 200, number * 37 % 256))
    draw = ImageDraw.Draw(image)
    draw.ellipse((number % 20, 5, 30 + number % 9, 35), fill=(number * 53 % 256, 90, 200))
    image.save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text(f"shape {number}, ellipse, colour {number % 5}")


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> Iterator[Trainings]:
    """Real trainings of the tiny model on the pictures, forked from one preloaded parent."""
    made = Trainings(tmp_path_factory.mktemp("runs"), tiny_model, pictures)
    yield made
    made.close()

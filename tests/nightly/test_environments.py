"""Another commit runs in this environment unless it pins something that a training imports differently."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweeplora.nightly.environments import differences, interpreter, pins_of, required


def checkout(folder: Path, dependencies: list[str], constraints: str) -> Path:
    folder.mkdir()
    lines = ", ".join(f'"{line}"' for line in dependencies)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\ndependencies = [{lines}]\n')
    (folder / "constraints.txt").write_text(constraints)
    return folder


PRESENT = (
    ["safetensors>=0.8", "optuna>=5,<6"],
    "optuna==5.0.0\npytest==9.2.0\nsafetensors==0.8.0\nSQLAlchemy==2.1.9\n",
)


@pytest.mark.parametrize(
    ("dependencies", "constraints", "different"),
    [
        (*PRESENT, []),
        (PRESENT[0], PRESENT[1].replace("pytest==9.2.0", "pytest==8.0.0"), []),  # only tests import it
        (PRESENT[0], PRESENT[1].replace("0.8.0", "0.7.0"), ["safetensors 0.7.0, here 0.8.0"]),
        # A dependency of Optuna's, written another way.
        (PRESENT[0], PRESENT[1].replace("SQLAlchemy==2.1.9", "sqlalchemy==2.0.1"), ["sqlalchemy 2.0.1, here 2.1.9"]),
        ([*PRESENT[0], "einops>=1"], PRESENT[1], ["einops>=1, not here"]),
        (["safetensors>=0.7", PRESENT[0][1]], PRESENT[1], []),  # a wider range, the same pin
    ],
)
def test_what_two_checkouts_pin_differently(
    tmp_path: Path, dependencies: list[str], constraints: str, different: list[str]
) -> None:
    present = checkout(tmp_path / "present", *PRESENT)
    other = checkout(tmp_path / "other", dependencies, constraints)
    assert differences(pins_of(present), pins_of(other)) == different


def test_the_same_pins_are_served_by_this_interpreter(tmp_path: Path) -> None:
    present, other = (checkout(tmp_path / name, *PRESENT) for name in ("present", "other"))
    said: list[str] = []
    assert interpreter(present, other, tmp_path / "environments", said.append) == Path(sys.executable)
    assert not said
    assert not (tmp_path / "environments").exists()


def test_requirements_of_extras_are_not_needed() -> None:
    found = required(["optuna"])
    assert {"optuna", "sqlalchemy", "alembic"} <= found
    assert "pytest" not in found

"""What every command of the sweep tests imports and reads first, for the process that they are forks of."""

from __future__ import annotations

import importlib

import PIL.Image

from sweeplora.config.compose import compose

for name in (
    *("tests.sweep.drive", "sweeplora.sweep.driver", "sweeplora.report.figures", "sweeplora.report.study_page"),
    *("optuna.samplers", "optuna.storages._rdb.models", "sqlalchemy.orm", "sqlalchemy.dialects.sqlite"),
    *("alembic.command", "numpy.random", "pydantic.dataclasses", "pygments.lexers.python"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg"),
):
    importlib.import_module(name)
PIL.Image.init()
for search in ("tpe", "grid", "random"):
    compose(["tracking=none", f"search={search}"])

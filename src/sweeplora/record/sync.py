"""Brings the record up to date with every run folder, at any time after the runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sweeplora.errors import UserError
from sweeplora.record.location import have_home, tracking_of
from sweeplora.record.mirror import Mirror
from sweeplora.record.run_folders import is_held_by_anyone
from sweeplora.record.store.subject import one_line
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.record import STUDY


def sync(runs: Path, changed: Mapping[str, Any]) -> list[str]:
    """Bring the store up to date with every study and single run below `runs`; returns one line per failure.

    Each is sent where its own configuration says, except for the `tracking` keys in `changed`. A folder with
    tracking off, or with another mirror at work on it, is skipped.
    """
    have_home()
    folders = [path.parent for path in (*runs.glob(f"*/{STUDY}"), *runs.glob(f"{SINGLE}/*/trial.json"))]
    return [line for folder in sorted(folders) for line in _sync_one(folder, runs, changed)]


def _sync_one(folder: Path, runs: Path, changed: Mapping[str, Any]) -> list[str]:
    try:
        tracking = _tracking_of(folder, runs, changed)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        return [f"{folder}: its config.yaml does not say where the record goes: {one_line(error)}"]
    if tracking is None or not tracking.enabled or is_held_by_anyone(folder / "mirror.lock"):
        return []
    driven = is_held_by_anyone(folder / "driver.lock") or is_held_by_anyone(RunDir(folder).lock)
    mirror = Mirror(folder, tracking, revive=False)
    try:
        with hold(folder / "mirror.lock"):
            mirror.turn(abandoned=not driven)
    except Exception as error:  # a fault in one folder does not keep the others from being brought up to date
        return [f"{folder}: {one_line(error)}"]
    return mirror.folders.damaged


def _tracking_of(path: Path, runs: Path, changed: Mapping[str, Any]) -> Tracking | None:
    """The tracking settings of a folder's configuration, with some keys changed; None if it has none yet."""
    try:
        config = yaml.safe_load(RunDir(path).config.read_text())
    except FileNotFoundError:
        return None
    return tracking_of(config, runs, changed)

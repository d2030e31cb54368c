"""Brings the record up to date with every run folder, long after the runs."""

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
from sweeplora.record.tracking import SINGLE, Tracking
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold


def sync(runs: Path, changed: Mapping[str, Any]) -> list[str]:
    """Bring the store up to date with every study and single run below `runs`; returns a line for each that failed.

    Each goes where its own configuration says, but for the keys of `tracking` in `changed`. One that is not
    recorded is left out, and so is one that another mirror is at right now.
    """
    have_home()
    from sweeplora.record.store.client import TROUBLE

    studies = [path.parent for path in runs.glob("*/study.json")]
    troubles = []
    for path in sorted([*studies, *(path.parent for path in runs.glob(f"{SINGLE}/*/trial.json"))]):
        try:
            tracking = _tracking_of(path, runs, changed)
        except (UserError, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            troubles.append(f"{path}: its config.yaml does not say where the record goes: {one_line(error)}")
            continue
        if tracking is None or not tracking.enabled or is_held_by_anyone(path / "mirror.lock"):
            continue
        driven = is_held_by_anyone(path / "driver.lock") or is_held_by_anyone(RunDir(path).lock)
        try:
            with hold(path / "mirror.lock"):
                Mirror(path, tracking).turn(abandoned=not driven)
        except (*TROUBLE, BlockingIOError) as error:
            troubles.append(f"{path}: {one_line(error)}")
    return troubles


def _tracking_of(path: Path, runs: Path, changed: Mapping[str, Any]) -> Tracking | None:
    """What the configuration in a folder says, with some keys changed; None where it is not there yet."""
    try:
        config = yaml.safe_load(RunDir(path).config.read_text())
    except FileNotFoundError:
        return None
    return tracking_of(config, runs, changed)

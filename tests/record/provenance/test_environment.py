"""The installed packages of a session."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from sweeplora.record.provenance.environment import installed, lock, packages


def test_every_package_has_the_version_that_its_metadata_says() -> None:
    found = importlib.metadata.distributions()
    expected = {f"{each.metadata['Name']}=={each.version}" for each in found if each.metadata["Name"]}
    assert {package.pinned for package in installed()} == expected


def test_only_the_head_of_a_packages_metadata_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    texts = {
        "odd-1.0": "Version: 1.0\nSummary: x\n  Name: folded\nName: Odd\n\nName: other\nVersion: 9\n",
        "nameless-1.0": "Metadata-Version: 2.1\n\nName: other\n",
        "fetched-2.0": "Name: fetched\nVersion: 2.0\n\n",
    }
    for folder, text in texts.items():
        (tmp_path / f"{folder}.dist-info").mkdir()
        (tmp_path / f"{folder}.dist-info" / "METADATA").write_text(text)
    origin = {"url": "https://me:pw@host/fetched.whl", "archive_info": {"hashes": {"sha256": "ab"}}}
    (tmp_path / "fetched-2.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    (tmp_path / "odd-1.0.dist-info" / "direct_url.json").write_text("[damaged")
    lines = packages(installed()).splitlines()
    assert {"Odd==1.0", "fetched==2.0"} <= set(lines) and not any(line.startswith("other") for line in lines)
    assert "fetched @ https://host/fetched.whl --hash=sha256:ab" in lock(installed()).splitlines()

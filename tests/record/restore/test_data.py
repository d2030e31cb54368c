"""What trained comes back: the images that the run had and no others, with the captions that it had."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from sweeplora.record.restore.restore import RESTORED, Restored
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from tests.record.provenance.test_git import run
from tests.record.restore.desk import Desk, bring_back, listing


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.chdir(made.path)
    return made


def _image(root: Path, name: str, caption: str | None) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG " + name.encode())
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


def _entry(path: Path | str, caption: str, split: str = "train", **more: Any) -> dict[str, Any]:
    content = Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": str(path), "sha256": digest, "bytes": len(content), "caption": caption, "split": split, **more}


def _trained(desk: Desk, data: dict[str, Any], *entries: dict[str, Any]) -> RunDir:
    made = desk.record(data={"_target_": "sweeplora.data.folder.Folder", **data})
    (made.path / "dataset.json").write_text(listing(*entries))
    return made


def _commit(desk: Desk) -> None:
    run(desk.path, "add", ".")
    run(desk.path, "commit", "-q", "-m", "pictures")


def _paths(restored: Restored) -> dict[str, str]:
    return (read_json(restored.folder / RESTORED) or {})["paths"]


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_what_was_not_committed_of_tracked_images_and_captions_comes_back(desk: Desk, tmp_path: Path) -> None:
    for name in "abcd":
        _image(desk.path / "pics", f"3_x/{name}.png", f"committed {name}")
    _commit(desk)
    (desk.path / "pics/3_x/a.txt").write_text("edited, and longer\nsecond line\n")
    for name in ("b.png", "b.txt", "c.png"):
        (desk.path / "pics/3_x" / name).unlink()
    (desk.path / "pics/3_x/d.png").write_bytes(b"\x89PNG another d")
    entries = [_entry("pics/3_x/a.png", "edited, and longer"), _entry("pics/3_x/d.png", "committed d")]
    made = _trained(desk, {"dir": "pics"}, *entries)
    restored = bring_back(made, tmp_path / "again")
    again = tmp_path / "again/pics/3_x"
    assert _names(again) == ["a.png", "a.txt", "d.png", "d.txt"]
    assert (again / "a.txt").read_text() == "edited, and longer"
    assert (again / "d.png").read_bytes() == b"\x89PNG another d" and not restored.missing
    assert any("recorded ones: 3_x/a.png" in note for note in restored.notes)
    assert any("left out: 3_x/b.png, 3_x/c.png" in note for note in restored.notes)
    assert not any("as at the commit" in note for note in restored.notes)


def test_a_changed_image_that_is_nowhere_is_missing_and_not_another_one(desk: Desk, tmp_path: Path) -> None:
    _image(desk.path / "pics", "a.png", "a")
    _image(desk.path / "pics", "b.png", "b")
    _commit(desk)
    desk.push()
    (desk.path / "pics/a.png").write_bytes(b"\x89PNG another")
    made = desk.carry_off(_trained(desk, {"dir": "pics"}, _entry("pics/a.png", "a"), _entry("pics/b.png", "b")))
    os.chdir(tmp_path)
    restored = bring_back(made, tmp_path / "again")
    assert [one["path"] for one in restored.missing if "sha256" in one] == [str(desk.path / "pics/a.png")]
    assert not (tmp_path / "again/pics/a.png").exists()


@pytest.mark.parametrize("change", ["none", "caption", "image added", "caption taken away"])
def test_a_folder_outside_of_the_workspace_is_used_only_as_it_was(desk: Desk, tmp_path: Path, change: str) -> None:
    album = tmp_path / "album"
    _image(album, "a.png", "a cat")
    _image(album, "b.png", "a dog")
    entries = [_entry(album / "a.png", "a cat"), _entry(album / "b.png", "a dog")]
    made = _trained(desk, {"dir": str(album)}, *entries)
    if change == "caption":
        (album / "a.txt").write_text("a cow")
    elif change == "image added":
        _image(album, "c.png", "a bird")
    elif change == "caption taken away":
        (album / "b.txt").unlink()
    before = {path: path.read_bytes() for path in album.iterdir()}
    restored = bring_back(made, tmp_path / "again")
    assert {path: path.read_bytes() for path in album.iterdir()} == before
    if change == "none":
        assert not _paths(restored) and not restored.notes
        return
    (place,) = _paths(restored).values()
    assert Path(place).is_relative_to(tmp_path / "again") and not restored.missing
    assert _names(Path(place)) == ["a.png", "a.txt", "b.png", "b.txt"]
    assert [(Path(place) / f"{name}.txt").read_text() for name in "ab"] == ["a cat", "a dog"]
    assert len(restored.notes) == 1


def test_links_that_lead_out_of_the_restored_workspace_are_not_written_through(desk: Desk, tmp_path: Path) -> None:
    album = tmp_path / "album"
    _image(album, "a.png", "a cat")
    (desk.path / "pics").symlink_to(album)
    (desk.path / "more").mkdir()
    (desk.path / "more/linked").symlink_to(album)
    _commit(desk)
    entries = [_entry(f"{place}/a.png", "a cat") for place in ("pics", "more/linked")]
    made = _trained(desk, {"subsets": [{"dir": "pics"}, {"dir": "more"}]}, *entries)
    (album / "a.txt").write_text("a cow")
    _image(album, "b.png", "a bird")
    before = {path: path.read_bytes() for path in album.iterdir()}
    restored = bring_back(made, tmp_path / "again")
    assert {path: path.read_bytes() for path in album.iterdir()} == before
    found = _paths(restored)
    assert found.keys() == {"pics", "more"} and not restored.missing
    for text, name in (("pics", "a"), ("more", "linked/a")):
        assert (tmp_path / "again" / found[text] / f"{name}.txt").read_text() == "a cat"


def test_folders_of_one_name_and_folders_in_each_other_keep_their_own_images(desk: Desk, tmp_path: Path) -> None:
    places = [tmp_path / "one/train", tmp_path / "two/train", tmp_path / "two/train/deep"]
    for number, place in enumerate(places):
        _image(place, f"{number}.png", f"caption {number}")
    names = ["one/train/0.png", "two/train/1.png", "two/train/deep/2.png", "two/train/deep/2.png"]
    made = _trained(
        desk,
        {"subsets": [{"dir": str(place)} for place in places]},
        *(_entry(tmp_path / name, f"caption {name[-5]}") for name in names),
    )
    for text in tmp_path.rglob("[012].txt"):
        text.write_text("changed")
    restored = bring_back(made, tmp_path / "again")
    found = [Path(_paths(restored)[str(place)]) for place in places]
    assert [_names(place) for place in found] == [
        ["0.png", "0.txt"],
        ["1.png", "1.txt", "deep/2.png", "deep/2.txt"],
        ["2.png", "2.txt"],
    ]
    assert (found[1] / "deep/2.txt").read_text() == "caption 2"


def test_captions_that_no_file_gave_are_as_they_were(desk: Desk, tmp_path: Path) -> None:
    _image(desk.path / "pics", "3_a cat/a.png", None)
    _image(desk.path / "pics", "b.png", None)
    _image(desk.path / "lines", "c.png", "one\n\ntwo\n")
    _commit(desk)
    entries = [_entry("pics/3_a cat/a.png", "a cat"), _entry("pics/b.png", "thing")]
    entries += [_entry("lines/c.png", "one\n\ntwo")]
    subsets = [
        {"dir": "pics", "class_tokens": "thing", "folder_captions": True},
        {"dir": "lines", "wildcards": True},
    ]
    restored = bring_back(_trained(desk, {"subsets": subsets}, *entries), tmp_path / "again")
    assert not restored.notes and not restored.missing
    assert _names(tmp_path / "again/pics") == ["3_a cat/a.png", "b.png"]
    assert (tmp_path / "again/lines/c.txt").read_text() == "one\n\ntwo\n"


def test_a_data_set_of_ones_own_keeps_what_its_reader_knows(desk: Desk, tmp_path: Path) -> None:
    album = tmp_path / "album"
    for name in ("a.png", "unread.png"):
        _image(album, name, None)
    (album / "captions.json").write_text("{}")
    made = desk.record(data={"_target_": "my_data.Table", "dir": str(album)})
    (made.path / "dataset.json").write_text(listing(_entry(album / "a.png", "from the table")))
    restored = bring_back(made, tmp_path / "again")
    assert not _paths(restored) and not restored.missing


def test_data_beside_the_workspace_is_not_written_beside_the_restored_one(desk: Desk, tmp_path: Path) -> None:
    _image(tmp_path / "album", "a.png", "a cat")
    made = _trained(desk, {"dir": "../album"}, _entry("../album/a.png", "a cat"))
    (tmp_path / "album/a.txt").write_text("a cow")
    restored = bring_back(made, tmp_path / "new/again")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["again"]
    assert (tmp_path / "new/again" / _paths(restored)["../album"] / "a.txt").read_text() == "a cat"


def test_what_the_patch_left_out_is_taken_away_or_said(desk: Desk, tmp_path: Path) -> None:
    for name in ("logo.png", "kept.png"):
        _image(desk.path, name, None)
    (desk.path / "key.pem").write_text("committed")
    _commit(desk)
    (desk.path / "logo.png").unlink()
    (desk.path / "key.pem").write_text("changed")
    restored = bring_back(_trained(desk, {}), tmp_path / "again")
    assert not (tmp_path / "again/logo.png").exists() and (tmp_path / "again/kept.png").exists()
    (note,) = restored.notes
    assert note.startswith(str(tmp_path / "again/key.pem")) and "looks secret" in note


def test_regularisation_images_that_were_not_needed_do_not_come_back(desk: Desk, tmp_path: Path) -> None:
    for name in "abc":
        _image(desk.path / "reg", f"{name}.png", name)
    _image(desk.path / "pics", "one.png", "one")
    _commit(desk)
    entries = [_entry("pics/one.png", "one"), _entry("reg/a.png", "a", "regularisation")]
    restored = bring_back(_trained(desk, {"dir": "pics", "reg_dir": "reg"}, *entries), tmp_path / "again")
    assert _names(tmp_path / "again/reg") == ["a.png", "a.txt"] and not restored.missing


def test_masks_of_other_images_stay_and_a_second_one_of_an_image_goes(desk: Desk, tmp_path: Path) -> None:
    _image(desk.path / "pics", "a.png", "a")
    for name in ("a.png", "a.jpg", "other.png"):
        _image(desk.path / "masks", name, None)
    _commit(desk)
    (desk.path / "masks/a.jpg").unlink()
    mask = {key: one for key, one in _entry("masks/a.png", "").items() if key in ("path", "sha256", "bytes")}
    made = _trained(desk, {"dir": "pics", "mask_dir": "masks"}, _entry("pics/a.png", "a", mask=mask))
    restored = bring_back(made, tmp_path / "again")
    assert _names(tmp_path / "again/masks") == ["a.png", "other.png"] and not restored.missing


def test_a_folder_below_home_is_compared_too(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _image(tmp_path / "album", "a.png", "a cat")
    made = _trained(desk, {"dir": "~/album"}, _entry(tmp_path / "album/a.png", "a cat"))
    assert _paths(bring_back(made, tmp_path / "first")) == {"~/album": str(tmp_path / "album")}
    (tmp_path / "album/a.txt").write_text("a cow")
    assert _paths(bring_back(made, tmp_path / "second")) == {"~/album": "inputs/album"}


def test_without_a_list_of_images_nothing_is_taken_away_and_it_is_said(desk: Desk, tmp_path: Path) -> None:
    _image(desk.path / "pics", "a.png", "a")
    _commit(desk)
    made = _trained(desk, {"dir": "pics"})
    (made.path / "dataset.json").write_text("{")
    (note,) = bring_back(made, tmp_path / "again").notes
    assert "dataset.json is missing or damaged" in note
    assert _names(tmp_path / "again/pics") == ["a.png", "a.txt"]

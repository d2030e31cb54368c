"""A run that is taken over from another study has its weights under the names of the study that takes it over."""

from __future__ import annotations

from pathlib import Path

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.naming import Naming, write_naming
from sweeplora.rundir.record import Result, read_result, write_result
from sweeplora.sweep.reuse import link_files, weights_fault

SIGNATURE = "0123456789ab"


def test_linked_weights_are_called_after_what_this_study_searched(tmp_path: Path) -> None:
    found, into = RunDir(tmp_path / "a"), RunDir(tmp_path / "b")
    for run, stem in ((found, "x-dim8"), (into, "x-dim8-alpha4")):
        run.path.mkdir()
        write_naming(run, Naming("x", stem, SIGNATURE))
    found.weights.mkdir()
    for ending in (".safetensors", "-000001.safetensors", ".png"):
        (found.weights / f"x-dim8{ending}").write_text(ending)
    write_result(found, Result("finished", weights="weights/x-dim8.safetensors"))
    for _ in range(2):  # a driver that died in between links again
        link_files(found, into)
        assert {file.name: file.read_text() for file in into.weights.iterdir()} == {
            f"x-dim8-alpha4{ending}": ending for ending in (".safetensors", "-000001.safetensors", ".png")
        }
        result = read_result(into)
        assert result is not None and result.weights == "weights/x-dim8-alpha4.safetensors"
        assert weights_fault(into) is None
    theirs = read_result(found)
    assert theirs is not None and theirs.weights == "weights/x-dim8.safetensors"
    assert sorted(file.name for file in found.weights.iterdir())[0] == "x-dim8-000001.safetensors"

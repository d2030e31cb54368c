"""What nvidia-smi says in real life, said by a program of that name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.launch.gpus import NoAnswer, visible_gpus

TWO = "GPU 0: NVIDIA A100 (UUID: GPU-a)\nGPU 1: NVIDIA A100 (UUID: GPU-b)"
MIG = TWO.replace("\n", "\n  MIG 3g.20gb     Device  0: (UUID: MIG-1)\n  MIG 3g.20gb     Device  1: (UUID: MIG-2)\n")
LOST = "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  Reboot the system to recover this GPU"
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No GPUs are named, and programs are looked for in the test's folder first."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def saying(folder: Path, text: str, code: int = 0) -> None:
    """Put an nvidia-smi there that says this."""
    (folder / "said.txt").write_text(text + "\n")
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat {folder / 'said.txt'}\nexit {code}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("0, GPU-abc", ("0", "GPU-abc")),
        ("MIG-GPU-5c/1/0,MIG-8e4f", ("MIG-GPU-5c/1/0", "MIG-8e4f")),
        ("-1", ()),
        ("", ()),
        ("NoDevFiles", ()),
        ("2,-1,3", ("2",)),
    ],
)
def test_names_of_cuda_visible_devices_are_kept_as_they_are(named: str, expected: tuple[str, ...]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}) == expected


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        (TWO, 0, ("0", "1")),
        (MIG, 0, ("MIG-1", "MIG-2", "1")),
        ("No devices were found", 6, ()),
        ("No devices found.", 0, ()),
        (f"{LOST}\nGPU 1: NVIDIA A100 (UUID: GPU-b)", 15, ("1",)),
    ],
)
def test_what_nvidia_smi_lists_is_taken(tmp_path: Path, text: str, code: int, expected: tuple[str, ...]) -> None:
    saying(tmp_path, text, code)
    assert visible_gpus({}) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (NO_DRIVER, 9),
        ("Failed to initialize NVML: Driver/library version mismatch", 18),
        (LOST, 15),
        ("", 127),
        ("Failed to initialize NVML: Unknown Error", 0),
    ],
)
def test_what_nvidia_smi_complains_of_is_passed_on(tmp_path: Path, text: str, code: int) -> None:
    saying(tmp_path, text, code)
    with pytest.raises(NoAnswer, match=(text[:40].rstrip(".") or "nothing")):
        visible_gpus({})


def test_a_program_that_cannot_be_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF, for another machine")
    (tmp_path / "nvidia-smi").chmod(0o755)
    with pytest.raises(NoAnswer, match="cannot be run"):
        visible_gpus({})


def test_a_hanging_nvidia_smi_is_one_line_and_leaves_the_command_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeplora.launch.gpus._ANSWER_SECONDS", 0.3)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\ntrap '' TERM\nsleep 100 &\nwait\nsleep 100\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert main(["tracking=none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("launcher.device=null: nvidia-smi did not answer within 0.3 s; give launcher.device=cpu")
    assert "CUDA_VISIBLE_DEVICES" in line
    assert main(["tracking=none", "launcher.device=cpu", "launcher.threads=100000"]) == 2
    assert "launcher.threads=100000" in capsys.readouterr().err

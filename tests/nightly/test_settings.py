"""What a night's group may hold, tried as a command line: refused in one line before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.__main__ import main
from tests.nightly.nights import prepare


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nightly.seeds=3"], "nightly.seeds=3: a paired test over so few"),
        (["nightly.seeds=12"], "nightly.most_seeds=10: nightly.seeds=12 are trained anyway"),
        (["nightly.seed=7"], "nightly.seed=7: no such key; nearest: nightly.speed, nightly.seeds"),
        (["+nightly.seed=7"], "nightly.seed=7: no such key; nearest: speed, seeds"),
        (["+nightly.configurations.Locon=[]"], "nightly.configurations=Locon: names a file"),
        (["+nightly.needs.sd16={gpus: 1}"], "nightly.needs.sd16={'gpus': 1}: no such configuration; nearest: sd15"),
        (["+nightly.needs.sd15={tpus: 1}"], "nightly.needs.sd15.tpus=1: give gpus or processes"),
        (["nightly.stop_at_canary=3"], "nightly.stop_at_canary=3: expected true or false"),
        (["nightly.speed.blocks=5"], "nightly.speed.blocks=5: expected a whole number >= 6"),
        (
            ["nightly.speed.most_blocks=7", "nightly.speed.blocks=8"],
            "nightly.speed.most_blocks=7: nightly.speed",
        ),
        (["+nightly.speed.step=3"], "nightly.speed.step=3: no such key; nearest: steps"),
        (["nightly.speed=null", "nightly.against=HEAD"], "nightly.against=HEAD: has no effect with nightly.speed=null"),
        (["nightly.against=HEAD", "nightly.bisect=a..b"], "nightly.against=HEAD: has no effect with nightly.bisect"),
        (["nightly.against=no-such-ref"], "nightly.against=no-such-ref: no-such-ref names no commit"),
        (["reuse=true"], "reuse=True: a night trains everything anew"),
        (["network.dim=choice(2,4)"], "sweep.space=searched: a night trains fixed configurations"),
        (["pruner=median"], "pruner=on: a night compares trainings of one length"),
        (["sweep.replicates=3"], "sweep.replicates=3: a night has its own seeds"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["+sweep=nightly", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/nightly-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+nightly.configurations.mine=['network.dimm=3']"], "network.dimm=3: no such key"),
        (["+nightly.configurations.mine=['seed=3']"], "nightly.configurations.mine=seed=3: the night gives the seeds"),
        (["nightly.bisect=HEAD"], "nightly.bisect=HEAD: give GOOD..BAD"),
        (["nightly.bisect=HEAD..HEAD"], "nightly.bisect=HEAD..HEAD: both are"),
    ],
)
def test_what_is_known_only_after_the_configurations_is_refused_too(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["+sweep=small", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/nightly-*"))

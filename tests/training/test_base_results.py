"""What of the base model's results is kept for the runs that follow."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.data.buckets import Size
from sweeplora.data.loader import Still
from sweeplora.diffusion.targets import Noising
from sweeplora.models.family import Text
from sweeplora.training.base_results import BaseResults
from sweeplora.training.distributed import Processes
from sweeplora.training.evaluate import Score, TripleSet, score
from sweeplora.training.previews.settings import Sample
from sweeplora.training.stop import Stop
from tests.data.toy import Toy


class Watched(Toy):
    """Counts its forward passes, and asks its own process to stop in one of them."""

    passes = 0
    stops_at = 0

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Text, sizes: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == self.stops_at:
            signal.raise_signal(signal.SIGTERM)
        return noisy


def test_a_score_that_a_stop_cut_short_is_not_kept(tmp_path: Path) -> None:
    family = Watched()
    stills = [Still(f"{side}", torch.ones(3, side, side), "a shape", torch.ones(6)) for side in (4, 8, 12)]
    triples = TripleSet(stills, 2, 0, family.encode_text)
    noising = Noising(family.alphas_cumprod, family.prediction)

    def scored(stop: Stop) -> Score:
        processes = Processes("no", "cpu", stop)
        results = BaseResults(tmp_path, "a base", processes)
        return results.score(triples, noising, "fp32", lambda: score(triples, family, noising, processes, "fp32"))

    with closing(Stop(None)) as stop:
        family.stops_at = 2
        cut_short = scored(stop)
    assert family.passes == 2 and not cut_short.losses[2].any()
    with closing(Stop(None)) as stop:
        whole, again = scored(stop), scored(stop)
    assert family.passes == 2 + 3  # made once, then found
    assert whole.losses.all() and torch.equal(whole.losses, again.losses)


def test_results_that_cannot_be_kept_end_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: Sample = build(compose([]).config["sample"])
    (tmp_path / "base").touch()  # no folder can be made there
    with closing(Stop(None)) as stop:
        results = BaseResults(tmp_path, "a base", Processes("no", "cpu", stop))
        assert results.files([], settings, Size(8, 8), lambda: [b"a file"]) == [b"a file"]
    assert "the base model's results are not kept: " in capsys.readouterr().out

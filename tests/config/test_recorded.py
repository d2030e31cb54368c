"""A recorded configuration is used again: completed, moved and changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.config.compose import compose
from sweeplora.config.recorded import changed, completed, composed_again, moved
from sweeplora.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)


def test_keys_that_have_come_since_are_added_and_named() -> None:
    config = compose(["network=lokr", "train.epochs=3"]).config
    earlier = {**config, "train": dict(config["train"]), "network": dict(config["network"])}
    del earlier["train"]["validation_timesteps"], earlier["network"]["factor"], earlier["reuse"]
    found, added = completed(earlier)
    assert found == config
    assert sorted(added) == ["network.factor", "reuse", "train.validation_timesteps"]
    assert completed(config) == (config, [])


def test_a_path_is_replaced_with_all_that_lies_below_it_and_nothing_beside_it() -> None:
    tree = {"a": "/old/x.txt", "b": ["/old", "/older/x"], "c": {"d": "/old/"}, "e": 3}
    assert moved(tree, {"/old": "/new"}) == {"a": "/new/x.txt", "b": ["/new", "/older/x"], "c": {"d": "/new/"}, "e": 3}


def test_a_changed_value_takes_along_what_follows_from_it_where_the_words_still_compose() -> None:
    words = ["scheduler=cosine_min_lr", "optimizer.lr=0.002"]
    recorded = compose(words).config
    again = composed_again(recorded, words, [], ["optimizer.lr=0.004"])
    found = changed(recorded, ["optimizer.lr=0.004"], again)
    assert (found["optimizer"]["lr"], found["scheduler"]["base"]) == (0.004, 0.004)
    otherwise = {**recorded, "seed": 5}  # the words lead elsewhere today
    assert composed_again(otherwise, words, [], ["optimizer.lr=0.004"]) is None
    found = changed(otherwise, ["optimizer.lr=0.004"], None)
    assert (found["optimizer"]["lr"], found["seed"]) == (0.004, 5)


def test_a_studys_proposal_stays_where_another_value_changes() -> None:
    base, proposed = ["+sweep=rank_alpha"], ["network.dim=16", "network.alpha=4", "optimizer.lr=0.01"]
    recorded = compose(base, proposed).config
    found = changed(recorded, ["seed=1"], composed_again(recorded, base, proposed, ["seed=1"]))
    assert found == {**recorded, "seed": 1}


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    recorded = compose([]).config
    with pytest.raises(UserError, match=r"nearest: network\.dim"):
        changed(recorded, ["network.dims=4"], None)

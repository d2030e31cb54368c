"""Every YAML file of conf/ and sweeps/: it composes, and what it holds binds to what it targets."""

from __future__ import annotations

import functools
import importlib.util
import inspect
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from hydra.utils import get_object

from sweeplora.check.shape import check_shape
from sweeplora.config import catalog
from sweeplora.config.binding import check_node
from sweeplora.config.compose import compose, table_of_contents
from sweeplora.config.rules import arguments
from sweeplora.config.signatures import signature_of
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.proposals import every_choice

CONF = catalog.shipped("conf")
CHOICES = [(group, choice) for group, choices in catalog.groups(CONF.parent).items() for choice in choices]
SWEEPS = list(catalog.sweeps(CONF.parent))
_FILL = {"model.path": "/a/model", "data.dir": "/a/folder"}


@functools.cache
def _config(*overrides: str) -> dict[str, Any]:
    """The configuration of these words, with the paths that it lacks filled in; not to be changed."""
    config = compose(overrides).config
    missing = [f"{key}={value}" for key, value in _FILL.items() if _at(config, key) == "???"]
    return compose([*overrides, *missing]).config


def _at(config: dict[str, Any], dotted: str) -> object:
    group, _, key = dotted.partition(".")
    return config[group][key]


def _is_here(node: dict[str, Any]) -> bool:
    return importlib.util.find_spec(node["_target_"].partition(".")[0]) is not None


def test_there_is_a_folder_for_every_group() -> None:
    assert set(table_of_contents().groups) == {group for group, _ in CHOICES}


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_choice_composes_and_binds_to_its_target(group: str, choice: str) -> None:
    node = _config(f"{group}={choice}")[group]
    if not _is_here(node):
        pytest.skip(f"{node['_target_']} is an extra that is not installed")
    signature = inspect.signature(get_object(node["_target_"]))
    bind = signature.bind_partial if node.get("_partial_") else signature.bind
    bind(**arguments(node))
    check_node(group, node)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_signature_read_from_source_is_the_one_that_python_sees(group: str, choice: str) -> None:
    node = _config(f"{group}={choice}")[group]
    if not _is_here(node):
        pytest.skip(f"{node['_target_']} is an extra that is not installed")
    read = signature_of(node["_target_"], group)
    assert read is not None
    real = inspect.signature(get_object(node["_target_"])).parameters
    named = {name: p for name, p in real.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert list(read.parameters) == list(named)
    assert [p.required for p in read.parameters.values()] == [p.default is p.empty for p in named.values()]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_types_read_from_source_are_those_of_our_own_targets(group: str, choice: str) -> None:
    node = _config(f"{group}={choice}")[group]
    if not node["_target_"].startswith("sweeplora."):
        pytest.skip("another project's types need not be readable")
    read = signature_of(node["_target_"], group)
    assert read is not None
    hints = get_type_hints(get_object(node["_target_"]), include_extras=True)
    assert {name: read.parameters[name].type for name in arguments(node)} == {n: hints[n] for n in arguments(node)}


@pytest.mark.parametrize("overrides", [[f"{g}={c}"] for g, c in CHOICES] + [[f"+sweep={s}"] for s in SWEEPS])
def test_a_run_folders_yaml_holds_exactly_the_config(overrides: list[str]) -> None:
    composed = compose(overrides)
    assert yaml.safe_load(composed.yaml) == composed.config


@pytest.mark.parametrize("name", SWEEPS)
def test_every_choice_of_a_sweep_composes_and_binds(name: str) -> None:
    config = compose([f"+sweep={name}"]).config
    assert config["sweep"]["name"] == (name if config["nightly"] is None else None)  # nights are named by the time
    for overrides in every_choice(parse_space(config["sweep"]["space"])):
        check_shape(compose([f"+sweep={name}", *overrides]).config)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweeps_header_says_question_and_number_of_trials(name: str) -> None:
    file = catalog.sweeps(CONF.parent)[name]
    asked = catalog.question(file)
    trials = compose([f"+sweep={name}"]).config["sweep"]["trials"]
    assert "?" in asked
    assert trials is None or f"{trials} trials" in asked


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.stem)
def test_a_file_opens_with_what_it_is(file: Path) -> None:
    assert len(catalog.question(file)) > 10

"""The generated reference has every key, verb and public name, and each key says what it means."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.commands import verbs
from sweeplora.config.compose import compose
from tests.docs.pages import ROOT
from tools.docs_site import configuration, docstrings, pages
from tools.docs_site import verbs as command_line
from tools.docs_site.foreign import loads_from_elsewhere
from tools.docs_site.text import bars_in_code


def _keys(node: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in node.items():
        name = f"{prefix}{key}"
        found += _keys(value, f"{name}.") if isinstance(value, dict) and value else [name]
    return [key for key in found if not key.rpartition(".")[2].startswith("_")]


def test_every_key_says_what_it_means() -> None:
    assert configuration.undescribed(ROOT) == []


@pytest.mark.parametrize("choices", [[], ["network=lokr", "optimizer=prodigy", "scheduler=polynomial", "model=sd15"]])
def test_every_key_of_a_configuration_is_in_the_reference(choices: list[str]) -> None:
    made = configuration.pages(ROOT)
    for key in _keys(compose(["data=folder", *choices]).config):
        assert any(f"| `{key}` |" in page for page in made.values()), key


def test_a_key_has_its_flag_and_what_the_file_below_says_of_it() -> None:
    network = configuration.pages(ROOT)["reference/configuration/network.md"]
    assert "| `network.dim` | `8` | rank | `network_dim` ([L2](../../guide.md#network)) |" in network
    dora = network.partition("## dora")[2]
    assert "weight-decomposed" in dora.partition("\n## ")[0]


def test_every_verb_is_there_with_its_own_help() -> None:
    page = command_line.page(ROOT)
    for verb in verbs(ROOT):
        assert f"\n## {verb}\n" in page
    assert "--columns KEY" in page and "+sweep=NAME" in page


def test_public_names_are_there_with_signature_and_docstring() -> None:
    made = docstrings.pages(ROOT)
    rates = made["reference/python/training.md"]
    assert "def cosine(" in rates
    assert "class UserError(Exception)" in made["reference/python/ground.md"]
    assert not any("def _" in page.replace("def __init__", "") for page in made.values())


def test_links_between_the_root_and_docs_lead_to_the_pages_of_the_site() -> None:
    assert pages.from_the_root("[a](docs/guide.md#x) [b](README.md)") == "[a](guide.md#x) [b](index.md)"
    assert pages.from_docs("[a](../README.md#x)", "guide.md") == "[a](index.md#x)"
    assert pages.from_docs("[a](../../ARCHITECTURE.md)", "how-to/files.md") == "[a](../ARCHITECTURE.md)"


def test_bars_in_the_code_of_a_table_are_shown_as_bars() -> None:
    assert bars_in_code('| a | `x="\\|"` |\n`\\|`') == '| a | <code>x="&#124;"</code> |\n`\\|`'


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://x.org/a.js"></script>',
        "<img alt=a src=//x.org/a.png>",
        '<link rel="stylesheet" href="https://x.org/a.css">',
    ],
)
def test_what_a_browser_would_load_from_elsewhere_is_found(tag: str) -> None:
    assert loads_from_elsewhere(f"<p>{tag}</p>")
    assert not loads_from_elsewhere(
        '<a href="https://x.org">x</a><img src="images/a.png"><link rel=canonical href=https://x.org>'
    )

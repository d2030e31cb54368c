"""Links between the files of the repository lead somewhere, anchors included, as a forge shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, named
from tools.docs_site.pages import pages

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_MADE = {f"docs/{address}" for address in ("reference/configuration/index.md", "reference/python/index.md")} | {
    f"docs/reference/{name}.md" for name in ("sweeps", "command-line")
}
"""Pages that exist in the site alone."""


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if there.is_relative_to(ROOT) and named(there) in _MADE:
            continue
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in _anchors(there), target


def test_the_pages_that_exist_in_the_site_alone_are_made() -> None:
    assert {name.removeprefix("docs/") for name in _MADE} <= set(pages(ROOT))

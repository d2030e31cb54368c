"""mkdocs' hooks: the pages of `pages.py`, their place in the navigation, and a look at what was built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.docs_site.foreign import loads_from_elsewhere
from tools.docs_site.pages import from_docs, pages
from tools.docs_site.text import bars_in_code


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages where the navigation names their folder."""
    config.nav = [_expanded(entry, pages(_root(config))) for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for address, text in pages(_root(config)).items():
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to files at the repository's root to their pages, and show bars in tables."""
    return bars_in_code(from_docs(markdown, page.file.src_uri))


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that loads anything from another host: it has to open without a network."""
    for file in sorted(Path(config.site_dir).rglob("*.html")):
        foreign = loads_from_elsewhere(file.read_text(encoding="utf-8"))
        if foreign:
            raise PluginError(f"{file} loads from another host: {foreign}")


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).resolve().parent


def _expanded(entry: Any, made: dict[str, str]) -> Any:
    """An entry of the navigation; a folder, `name/`, becomes its index page and the others in their order."""
    if isinstance(entry, dict):
        return {title: _expanded(value, made) for title, value in entry.items()}
    if isinstance(entry, list):
        return [_expanded(value, made) for value in entry]
    if isinstance(entry, str) and entry.endswith("/"):
        inside = [address for address in made if address.startswith(entry)]
        inside.sort(key=lambda address: not address.endswith("/index.md"))
        return inside
    return entry

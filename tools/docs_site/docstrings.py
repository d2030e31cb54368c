"""The reference of the Python package: a page for each wing, from signatures and docstrings, nothing imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.docs_site.text import cell, prose, table

_FOLDER = "reference/python"
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def pages(root: Path) -> dict[str, str]:
    """Address in the site -> Markdown, for the package's wings and its ground."""
    package = root / "src" / "sweeplora"
    wings = sorted(folder for folder in package.iterdir() if (folder / "__init__.py").is_file())
    made = {f"{_FOLDER}/{wing.name}.md": _wing_page(wing, package) for wing in wings}
    ground = [file for file in sorted(package.glob("*.py")) if not file.stem.startswith("__")]
    made[f"{_FOLDER}/ground.md"] = "\n".join(["# Ground", "", *_modules(ground, package)])
    rows = [(f"[{wing.name}]({wing.name}.md)", cell(_first_line(wing / "__init__.py"))) for wing in wings]
    rows.append(("[ground](ground.md)", "What every wing may import."))
    intro = [
        "# Python",
        "",
        "Signatures and docstrings of the package's public names, a page for each of its",
        "[wings](../../ARCHITECTURE.md#the-wings). What a part of your own has to offer is in",
        "[Parts of your own](../../own-parts.md) and [Networks and models of your own](../../own-networks.md).",
        "",
    ]
    made[f"{_FOLDER}/index.md"] = "\n".join([*intro, *table(("wing", "what is in it"), rows), ""])
    return made


def _wing_page(wing: Path, package: Path) -> str:
    lines = [f"# {wing.name}", "", prose(_first_line(wing / "__init__.py")), ""]
    return "\n".join([*lines, *_modules(sorted(wing.rglob("*.py")), package)])


def _modules(files: list[Path], package: Path) -> Iterator[str]:
    for file in files:
        tree = ast.parse(file.read_bytes())
        public = [node for node in tree.body if isinstance(node, _Definition) and not node.name.startswith("_")]
        if not public:
            continue
        module = ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        yield from (f"## {module} {{ #{module.replace('.', '-')} }}", "", prose(ast.get_docstring(tree) or ""), "")
        for node in public:
            yield from _definition(node, module, "###")


def _definition(node: _Definition, owner: str, level: str) -> Iterator[str]:
    anchor = f"{owner}.{node.name}".replace(".", "-")
    yield from (f"{level} {node.name} {{ #{anchor} }}", "", "```python", _signature(node), "```", "")
    said = ast.get_docstring(node)
    if said:
        yield from (prose(said), "")
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_") and ast.get_docstring(inner):
                yield from _definition(inner, f"{owner}.{node.name}", f"{level}#")


def _signature(node: _Definition) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        fields = [ast.unparse(inner) for inner in node.body if isinstance(inner, ast.AnnAssign) and _is_public(inner)]
        constructor = next((i for i in node.body if isinstance(i, ast.FunctionDef) and i.name == "__init__"), None)
        lines = [f"class {node.name}{f'({bases})' if bases else ''}", *(f"    {field}" for field in fields)]
        return "\n".join([*lines, *([] if constructor is None else [f"    {_signature(constructor)}"])])
    gives = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"def {node.name}({ast.unparse(node.args)}){gives}"


def _is_public(field: ast.AnnAssign) -> bool:
    return isinstance(field.target, ast.Name) and not field.target.id.startswith("_")


def _first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_bytes())) or "").partition("\n")[0]

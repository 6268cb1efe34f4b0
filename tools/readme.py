"""Render README.md from nbs/index.ipynb: cells and their outputs, without hidden cells and nbdev's directives."""

import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).parent.parent


def render(notebook: Path = root / "nbs/index.ipynb") -> str:
    """The notebook as Markdown."""
    nb = nbformat.read(notebook, as_version=4)
    nb.cells = [cell for cell in nb.cells if not re.match(r"#\|\s*hide\b", cell.source)]
    for cell in nb.cells:
        cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
    text, _ = MarkdownExporter().from_notebook_node(nb)
    # links from nbs/ become links from the root
    text = re.sub(r"\]\((?!\w+:|#)", "](nbs/", text).replace("](nbs/../", "](")
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    (root / "README.md").write_text(render(), encoding="utf8")

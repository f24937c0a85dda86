"""Pieces of Markdown, as lines: tables, code, links to headings and pages."""

import inspect
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["code", "contents", "page_of", "paragraphs", "python", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table with these heads, and an empty line."""
    for row in (head, ["---"] * len(head), *rows):
        # A bar inside of a cell would end it, in code as well.
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def code(text: str) -> str:
    """The text as code; nothing where it is empty."""
    return f"`{text}`" if text else ""


def python(text: str) -> Iterator[str]:
    """A block of Python, and an empty line."""
    yield from ("```python", text, "```", "")


def contents(names: Iterable[str]) -> Iterator[str]:
    """Links to the headings of these names."""
    yield from (", ".join(f"[{name}](#{name.lower()})" for name in names) + ".", "")


def page_of(page: str, name: str = "") -> str:
    """A link from the reference to a page of docs/."""
    return f"[{name or page.replace('_', ' ')}](../{page}.md)"


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring; those that are indented are code."""
    for paragraph in text.split("\n\n"):
        yield from python(inspect.cleandoc(paragraph)) if paragraph.startswith("    ") else (paragraph, "")

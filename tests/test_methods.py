"""The page on methods: its code is there, its numbers stand in the docstrings, and no source of a docstring is missing."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_robustness.config.registry import constructors

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")
ENTRIES = {
    head: " ".join(text.split())
    for head, text in re.findall(r"^### (.*)\n\n((?:(?!^##).*\n)*)", PAGE, flags=re.MULTILINE)
}
CODE = re.compile(r"\[([\w.]+):(\w+)\]\(([\w./]+)\)")
NUMBER = re.compile(
    r"\b(?:section|equation|algorithm|theorem|table) [\dIV][\w.]*\w|\b(?:section|equation|algorithm|theorem) \d"
)


def sources() -> Iterator[tuple[str, str]]:
    """The author and the year of every source that a docstring of the package names."""
    for path in sorted((DOCS.parent / "pytest_robustness").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                for names, year in re.findall(
                    r"((?:[A-Z][a-z]+(?:, | and )?)+(?: et al\.)?) \(?((?:19|20)\d\d)\b", text
                ):
                    yield re.split(r"\W", names)[0], year


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_code_of_a_method_is_where_the_page_says(entry: str) -> None:
    found = CODE.findall(ENTRIES[entry])
    assert found
    for module, name, link in found:
        home = importlib.import_module(f"pytest_robustness.{module}")
        assert name in home.__all__
        assert (DOCS / link).resolve() == Path(inspect.getfile(home))


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_number_of_a_paper_stands_in_the_docstring_beside_the_code(entry: str) -> None:
    text, found = ENTRIES[entry], CODE.findall(ENTRIES[entry])
    written = " ".join(
        " ".join(inspect.getsource(importlib.import_module(f"pytest_robustness.{module}")).split())
        for module, *_ in found
    )
    for number in NUMBER.findall(text.partition("Code:")[0]):
        assert number in written, number


def test_every_attack_defense_and_explainer_has_its_source() -> None:
    told = {name for text in ENTRIES.values() for _, name, _ in CODE.findall(text)}
    wanted = {own.name for own in constructors().values() if own.kind in ("attack", "smoothing", "explainer")}
    assert wanted - told == {"Oblivious"}


def test_every_source_that_a_docstring_names_is_on_the_page() -> None:
    found = set(sources())
    assert {("Croce", "2020"), ("Kaufmann", "2013"), ("Clopper", "1934")} <= found
    missing = {own for own in found if not any(own[0] in text and own[1] in text for text in ENTRIES.values())}
    assert not missing

"""The picture of the architecture is what the imports are now, and they go down only."""

import ast
import itertools
import shutil
from pathlib import Path
from xml.etree import ElementTree

import architecture
import pytest
from architecture import GROUPS, Group, edges, group_of, imports, reduced

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
SMALL = {"top": Group("", "a a.", 200, 40), "bottom": Group("", "b c", 200, 140)}


def test_the_picture_is_what_the_imports_are_now(capsys: pytest.CaptureFixture[str]) -> None:
    """Drawn by `python docs/architecture.py`."""
    assert (architecture.main(["--check"]), capsys.readouterr().out) == (0, "")


def test_an_old_picture_is_told_and_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "architecture.svg"
    monkeypatch.setattr(architecture, "PICTURE", path)
    for _ in range(2):
        assert architecture.main(["--check"]) == 1
        assert capsys.readouterr().out == "docs/architecture.svg is old: draw it with python docs/architecture.py\n"
        assert architecture.main([]) == 0
        assert architecture.main(["--check"]) == 0
        path.write_text("<svg/>", encoding="utf-8")


def test_every_module_is_in_one_group_and_every_name_of_a_group_is_a_module() -> None:
    modules = {module: group_of(module, GROUPS) for module in imports()}
    for name, group in GROUPS.items():
        for own in group.modules.split():
            assert any(
                group_of == name and (module == own or module.startswith(own)) for module, group_of in modules.items()
            )


def test_imports_go_to_groups_further_down() -> None:
    order = list(GROUPS)
    assert all(order.index(upper) < order.index(lower) for upper, lower in edges(GROUPS, imports()))


def test_an_import_that_goes_up_is_told() -> None:
    with pytest.raises(
        ValueError,
        match=r"^b \(bottom\): expected imports of groups further down, got a\.x \(top\); move what it needs down$",
    ):
        edges(SMALL, {"a": frozenset({"b"}), "b": frozenset({"a.x"})})


def test_a_module_without_a_group_is_told() -> None:
    with pytest.raises(ValueError, match=r"^d: expected one group that has it, got none; see GROUPS$"):
        edges(SMALL, {"a": frozenset({"d"})})


def test_imports_that_cannot_be_drawn_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(architecture, "imports", lambda: {"new": frozenset({"errors"})})
    assert architecture.main(["--check"]) == 2
    assert capsys.readouterr().err == "new: expected one group that has it, got none; see GROUPS\n"


def test_an_edge_that_follows_from_others_is_left_out() -> None:
    assert reduced(frozenset({("a", "b"), ("b", "c"), ("a", "c")})) == {("a", "b"), ("b", "c")}


def test_the_half_of_plain_numbers_imports_no_torch_and_nothing_of_the_other() -> None:
    plain = {"report", "releases", "verdicts", "measured numbers", "stats", "records", "words"}
    assert {lower for upper, lower in edges(GROUPS, imports()) if upper in plain} <= plain
    for module in imports():
        if group_of(module, GROUPS) in plain:
            path = ROOT / "pytest_robustness" / module.replace(".", "/")
            source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
            nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
            found = [own.names[0].name for own in nodes if isinstance(own, ast.Import)]
            assert "torch" not in found, module


def test_boxes_lie_in_the_picture_and_on_none_of_the_others() -> None:
    tree = ElementTree.fromstring(architecture.picture())
    _, _, width, height = map(int, tree.attrib["viewBox"].split())
    boxes = [
        [float(box.attrib[key]) for key in ("x", "y", "width", "height")]
        for box in tree.iter(f"{SVG}rect")
        if box.attrib["class"] in ("box", "bridge", "ground")
    ]
    assert len(boxes) == len(GROUPS)
    for x, y, w, h in boxes:
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_every_text_fits_into_its_box_in_a_browser() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(architecture.PICTURE.as_uri())
        wide = page.evaluate(
            """() => [...document.querySelectorAll("g")].flatMap(box => [...box.querySelectorAll("text")]
                .filter(text => text.getBBox().width > box.querySelector("rect").getBBox().width - 8)
                .map(text => text.textContent))"""
        )
        browser.close()
    assert wide == []


def test_the_page_names_modules_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = page.partition("## One gate")[2].partition("## Where to add")[0].split("`")[1::2]
    modules = {own for own in named if own in imports()}
    assert modules >= {
        "plugin",
        "distribution",
        "running",
        "search",
        "memory",
        "cache",
        "answers",
        "stressing",
        "settling",
    }

"""Text files as values with their lines; what manifests and class files say of them is tested there."""

from pathlib import Path

import pytest

from pytest_robustness.documents import Entry, entries, read_document, read_text, table
from pytest_robustness.errors import InputError


def written(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_entries_have_the_line_that_they_begin_on(tmp_path: Path) -> None:
    for name, text, lines in (
        ("a.json", '[1,\n [2,\n 3],\n\n {"a": "b"}]', (1, 2, 5)),
        ("a.jsonl", '1\n[2, 3]\n\n{"a": "b"}', (1, 2, 4)),
        ("a.yaml", "# three\n- 1\n- - 2\n  - 3\n\n- a: b\n", (2, 3, 6)),
    ):
        found = entries(written(tmp_path, name, text), "a list")
        assert found == [Entry(line, value) for line, value in zip(lines, (1, [2, 3], {"a": "b"}), strict=True)]
    assert entries(written(tmp_path, "b.yml", "x: 1\n\ny: [2]\n"), "a list") == [Entry(1, 1, "x"), Entry(3, [2], "y")]


def test_rows_have_the_line_that_they_end_on_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'a,b\n\n"x\ny",2\n')
    assert table(path, "a table") == [(1, ["a", "b"]), (4, ["x\ny", "2"])]


def test_a_document_is_json_by_its_ending_and_yaml_otherwise(tmp_path: Path) -> None:
    assert read_document(written(tmp_path, "a.json", "\ufeff[1, null]"), "a list") == [1, None]
    assert read_document(written(tmp_path, "a.yaml", "[1, ~, x]"), "a list") == [1, None, "x"]


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError) as error:
        read_text(tmp_path / "a.csv", "a table")
    assert str(error.value) == f"{tmp_path / 'a.csv'}: expected a table, could not read it: it is no UTF-8 text"


def test_many_names_for_one_node_are_not_unfolded(tmp_path: Path) -> None:
    """Nine lists of nine of the list before would be 387 million entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert len(entries(written(tmp_path, "a.yaml", "\n".join(lines)), "a list")) == 9

"""Parts of files, and what is never opened."""

from pathlib import Path

import pytest

from pytest_robustness.contents import Part, Refused
from pytest_robustness.errors import InputError


def test_a_part_is_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert Part(tmp_path / "a", 3, 4, "a/3").read() == b"3456"
    assert Part(tmp_path / "a", 3, 0, "a/3").read() == b""


def test_a_part_beyond_the_end_and_of_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    for part, message in (
        (Part(tmp_path / "a", 8, 4, "a/3"), f"a/3: expected 4 bytes, got 2; {tmp_path / 'a'} is cut off"),
        (
            Part(tmp_path / "b", 8, 4, "b/3"),
            f"b/3: expected a file that can be read, got one that can't be (No such file or directory); check {tmp_path / 'b'}",
        ),
        (Refused("a: expected less"), "a: expected less"),
    ):
        with pytest.raises(InputError) as error:
            part.read()
        assert str(error.value) == message

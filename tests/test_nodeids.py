"""Node ids without the image that they name."""

import pytest

from pytest_robustness.nodeids import clean, without_image


@pytest.mark.parametrize(
    ("nodeid", "image", "left"),
    [
        ("t.py::test[dark_2]", "dark/dark_2.png", "t.py::test"),
        ("t.py::test[dark-same-one]", "dark/same one.png", "t.py::test"),
        ("t.py::test[same-one]", "dark/same one.png", "t.py::test"),
        ("t.py::test[dark_2-fog]", "dark/dark_2.png", "t.py::test[fog]"),
        ("t.py::test[fog-dark_2]", "dark/dark_2.png", "t.py::test[fog]"),
        ("t.py::test[fog-dark_2-3]", "dark/dark_2.png", "t.py::test[fog-3]"),
        ("t.py::test[dark_21]", "dark/dark_2.png", "t.py::test[dark_21]"),
        ("t.py::test[fog]", "dark/dark_2.png", "t.py::test[fog]"),
        ("t.py::dark_2", "dark/dark_2.png", "t.py::dark_2"),
    ],
)
def test_the_image_alone_is_taken_out_of_a_node_id(nodeid: str, image: str, left: str) -> None:
    assert without_image(nodeid, image) == left


def test_a_name_without_a_letter_is_still_a_name() -> None:
    assert clean("grün 1.0") == "gr-n-1.0"
    assert clean("") == "image"

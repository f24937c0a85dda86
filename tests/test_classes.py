"""Class lists and groups from YAML files, and what a file that is wrong is told."""

from pathlib import Path

import pytest

from pytest_robustness.classes import ClassList, read_classes
from pytest_robustness.errors import InputError
from pytest_robustness.loading import image_folder, labelled_images

from .conftest import draw_grey

ZOO = """
classes: [African elephant, Indian elephant, tusker, zebra, cat]
groups:
  elephants: [African elephant, 1, tusker]
  striped: [zebra]
  animals: [African elephant, Indian elephant, tusker, zebra, cat]
accept_together: [elephants]
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "classes.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "classes.yaml"


def test_a_file_has_classes_groups_and_what_is_accepted_together(tmp_path: Path) -> None:
    known = read_classes(written(tmp_path, ZOO))
    assert known.names == ("African elephant", "Indian elephant", "tusker", "zebra", "cat")
    assert known.groups == {"elephants": (0, 1, 2), "striped": (3,), "animals": (0, 1, 2, 3, 4)}
    assert known.together == ("elephants",)


def test_an_image_of_a_group_that_is_accepted_together_is_right_as_any_of_it(tmp_path: Path) -> None:
    known = read_classes(written(tmp_path, ZOO))
    assert [known.accepted([label]) for label in range(5)] == [(0, 1, 2), (0, 1, 2), (0, 1, 2), (3,), (4,)]
    assert known.accepted([2, 3]) == (0, 1, 2, 3)
    assert ClassList(("a", "b")).accepted([1]) == (1,)


def test_a_folder_of_images_finds_its_own_file_and_another_is_named(tmp_path: Path) -> None:
    for name in ("cat", "tusker", "zebra"):
        draw_grey(tmp_path / "images" / name / "0.png", 100)
    path = written(tmp_path / "images", ZOO)
    for images in (image_folder(tmp_path / "images"), image_folder(tmp_path / "images", classes=str(path))):
        assert [image.labels for image in images.images] == [(4,), (0, 1, 2), (3,)]
        assert images.accepted(images["tusker/0.png"]) == ("African elephant", "Indian elephant", "tusker")
        assert [image.id for image in images.of_group("elephants")] == ["tusker/0.png"]
        assert len(images.of_group("animals")) == 3
        assert images.indices("elephants") == (0, 1, 2)
        assert images.indices("zebra") == (3,)
    named = labelled_images(tmp_path / "images", {"cat/0.png": ["Indian elephant"]}, classes=path)
    assert named.images[0].labels == (0, 1, 2)
    assert image_folder(tmp_path / "images", classes=["cat", "tusker", "zebra"]).groups == {}


def test_groups_may_stand_alone_and_the_folders_are_the_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", "car"):
        draw_grey(tmp_path / name / "0.png", 100)
    written(tmp_path, "groups: {pets: [cat, dog]}")
    images = image_folder(tmp_path)
    assert images.classes == ("car", "cat", "dog")
    assert images.groups == {"pets": (1, 2)}


def test_a_name_of_no_class_and_no_group_is_refused(tmp_path: Path) -> None:
    draw_grey(tmp_path / "cat" / "0.png", 100)
    images = image_folder(tmp_path)
    with pytest.raises(InputError) as error:
        images.indices("cats")
    assert str(error.value) == f"{images.name}: expected a class or a group of classes, got 'cats'; did you mean 'cat'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[cat, dog]",
            ": expected a mapping with classes, groups or accept_together, got a list",
        ),
        (
            "class: [cat]",
            ": expected classes, groups or accept_together, got 'class'; did you mean 'classes'?",
        ),
        ("groups: {a: [cat]}", ": expected classes: [...], the model's classes in the model's order, got none"),
        ("classes: [cat, no]", ": classes: expected a list of names, got False; put names such as 'no' in quotes"),
        ("classes: cat", ": classes: expected a list of names, got 'cat'; put names such as 'no' in quotes"),
        (
            "classes: [cat]\ngroups: [cat]",
            ": groups: expected a mapping of names to lists of classes, got a list",
        ),
        (
            "classes: [cat]\ngroups: {cat: [cat]}",
            ": groups: expected a name that no class has, got 'cat'; call the group otherwise",
        ),
        (
            "classes: [cat]\ngroups: {pets: [cta]}",
            ": groups: pets: expected one of 1 classes (cat), got the label 'cta'; did you mean 'cat'?",
        ),
        ("classes: [cat]\ngroups: {pets: []}", ": groups: pets: expected a list of classes, got an empty list"),
        ("classes: [cat]\ngroups: {pets: cat}", ": groups: pets: expected a list of classes, got 'cat'"),
        (
            "classes: [cat]\ngroups: {pets: [cat]}\naccept_together: [pet]",
            ": accept_together: expected one of the groups pets, got 'pet'; did you mean 'pets'?",
        ),
        (
            "classes: [cat]\naccept_together: [pets]",
            ": accept_together: expected one of the groups (there are none), got 'pets'",
        ),
        ("classes: [cat", ":1: expected YAML, got expected ',' or ']', but got '<stream end>'"),
        ("classes: !!python/object:os.system [x]", ":1: expected YAML, got could not determine a constructor"),
    ],
)
def test_a_file_that_is_wrong_is_told_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_classes(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_file_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_classes(tmp_path / "none.yaml")
    assert str(error.value) == (
        f"{tmp_path / 'none.yaml'}: expected a YAML file with classes, could not read it: No such file or directory"
    )
    (tmp_path / "bad.yaml").write_bytes(b"classes: [\xff]")
    with pytest.raises(InputError) as error:
        read_classes(tmp_path / "bad.yaml")
    assert str(error.value) == (
        f"{tmp_path / 'bad.yaml'}: expected a YAML file with classes, could not read it: it is no UTF-8 text"
    )

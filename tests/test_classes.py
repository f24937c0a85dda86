"""Class lists and groups from YAML files, and what a file that is wrong is told."""

from pathlib import Path

import pytest

from pytest_robustness.classes import ClassList, check_order, class_list, read_classes
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


@pytest.mark.parametrize(
    ("name", "text", "identifiers"),
    [
        ("classes.txt", "tench\ngoldfish\ngreat white shark\n\n", ()),
        ("classes.json", '["tench", "goldfish", "great white shark"]', ()),
        ("classes.json", '{"1": "goldfish", "0": "tench", "2": "great white shark"}', ()),
        (
            "index.json",
            '{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"], "2": ["n01484850", "great white shark"]}',
            ("n01440764", "n01443537", "n01484850"),
        ),
        ("classes.json", '{"classes": ["tench", "goldfish", "great white shark"]}', ()),
        ("classes.yml", "classes: [tench, goldfish, great white shark]", ()),
    ],
)
def test_names_may_be_lines_a_list_or_numbered(
    tmp_path: Path, name: str, text: str, identifiers: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    known = class_list(str(tmp_path / name))
    assert known == ClassList(("tench", "goldfish", "great white shark"), identifiers=identifiers)
    assert class_list(tmp_path / name) == known
    assert class_list(known) is known


def test_folders_called_by_wordnet_ids_are_the_classes_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(
        '{"0": ["n02", "crane"], "1": ["n01", "zebra"], "2": ["n03", "crane"]}', encoding="utf-8"
    )
    for folder in ("n01", "n03"):
        draw_grey(tmp_path / "images" / folder / "0.png", 100)
    images = image_folder(tmp_path / "images", classes=tmp_path / "index.json")
    assert [(image.id, image.labels) for image in images.images] == [("n01/0.png", (1,)), ("n03/0.png", (2,))]
    assert images.classes == ("crane", "zebra", "crane")
    images.check_classes(["crane", "zebra", "crane"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "tench\n\ngoldfish\n", ":2: expected a class on each line, got an empty line; remove it"),
        ("a.json", '{"0": "tench", "2": "goldfish"}', ": expected the classes numbered from 0 to 1, got '2'"),
        ("a.json", "7", ": expected a list of names, or names by number, got 7"),
        ("a.json", "[]", ": expected a list of names, or names by number, got an empty list"),
        ("a.json", '["tench", 7]', ": expected a name, or [identifier, name], for each class, got 7 for class 1"),
        (
            "a.json",
            '[["n01", "tench"], "goldfish"]',
            ": expected a name, or [identifier, name], for each class, got 'goldfish' for class 1",
        ),
        ("a.json", '["tench",]', ":1: expected JSON, got "),
        (
            "none.txt",
            None,
            ": expected a text file with a class on each line, could not read it: No such file or directory",
        ),
        ("none.json", None, ": expected a JSON file with classes, could not read it: No such file or directory"),
    ],
)
def test_a_file_of_names_that_is_wrong_is_told(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_classes(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}{message}")


@pytest.mark.parametrize(
    ("own", "names", "message"),
    [
        (
            "abcdef",
            "bacdfe",
            "expected the model's classes in the model's order, got 4 of 6 in other places: 0 is 'a' here and 'b' to the model, 1 is 'b' "
            "here and 'a' to the model, 4 is 'e' here and 'f' to the model; give the image set classes= in the model's order",
        ),
        (
            "ab",
            "abc",
            "expected the model's 3 classes, got 2 of them; give the image set classes= in the model's order",
        ),
        (
            ["cat", "zebar"],
            ["cat", "zebra"],
            "expected the model's classes, got 1 of 2 that it does not have: 'zebar'; did you mean 'zebra'?; give the image set classes= in "
            "the model's order, by the model's names",
        ),
        (
            "vwxyz",
            "ab",
            "expected the model's classes, got 5 of 5 that it does not have: 'v', 'w', 'x', ...; give the image set classes= in the model's "
            "order, by the model's names",
        ),
    ],
)
def test_classes_that_are_not_the_models_are_told(own: list[str], names: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        check_order(own, names, "photos")
    assert str(error.value) == f"photos: {message}"
    check_order(names, names, "photos")

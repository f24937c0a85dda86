"""Manifests: the same set however it is written down, and each wrong entry told by its line."""

import json
from pathlib import Path

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.manifests import image_manifest

from .test_loading import ids, paint

CSV = """file,label,accepted,group,mask
1.png,zebra,,night,masks/1.png
2.png,okapi,zebra | horse,night|far,
sub/3.png,horse,,,
"""
ROWS = [
    {"file": "1.png", "label": "zebra", "group": "night", "mask": "masks/1.png"},
    {"file": "2.png", "label": "okapi", "accepted": ["zebra", "horse"], "group": ["night", "far"]},
    {"file": "sub/3.png", "label": "horse"},
]
YAML = """
1.png: {label: zebra, group: night, mask: masks/1.png}
2.png:
  label: okapi
  accepted: [zebra, horse]
  group: [night, far]
sub/3.png: horse
"""
WRITTEN = {
    "photos.csv": CSV,
    "photos.json": json.dumps(ROWS, indent=1),
    "one-line.json": json.dumps(ROWS),
    "photos.jsonl": "\n".join(map(json.dumps, ROWS)) + "\n\n",
    "photos.yaml": YAML,
    "list.yml": "".join(f"- {json.dumps(row)}\n" for row in ROWS),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for level, name in enumerate(("1.png", "2.png", "sub/3.png", "masks/1.png")):
        paint(tmp_path / name, 40 * level)
    return tmp_path


def read(root: Path, name: str, text: str, **settings: object) -> ImageSet:
    (root / name).write_text(text, encoding="utf-8")
    return image_manifest(root / name, **settings)  # type: ignore[arg-type]


def refused(root: Path, name: str, text: str, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        read(root, name, text, **settings)
    return str(error.value).replace(f"{root}/", "")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_set_is_the_same_however_it_is_written_down(root: Path, name: str) -> None:
    images = read(root, name, WRITTEN[name])
    assert images.classes == ("horse", "okapi", "zebra")
    assert [(image.id, image.labels, image.groups) for image in images.images] == [
        ("1.png", (2,), ("night",)),
        ("2.png", (0, 1, 2), ("night", "far")),
        ("sub/3.png", (0,), ()),
    ]
    assert images.masks == {"1.png": root / "masks" / "1.png"}
    assert images.name == (root / name).as_posix()
    assert [int(level) for level in images.batch(ids(images)).images[:, 0, 0, 0] * 255] == [0, 40, 80]
    assert images.digest() == read(root, "again.csv", CSV).digest()


def test_a_manifest_may_lie_elsewhere_and_have_a_byte_order_mark(root: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "photos.csv"
    path.write_text("\ufeff" + CSV, encoding="utf-8")
    assert len(image_manifest(str(path), root=root, resize=8, crop=(5, 6))) == 3


def test_classes_are_given_by_name_by_number_or_by_the_file_beside(root: Path) -> None:
    text = "file,label\n1.png,0\n2.png,3\n"
    known = ["okapi", "zebra", "horse", "3"]
    # A class that is called 3 is meant, and not the fourth.
    assert [image.labels for image in read(root, "a.csv", text, classes=known).images] == [(0,), (3,)]
    assert [image.labels for image in read(root, "a.csv", text, classes=[*known[:3], "x"]).images] == [(0,), (3,)]
    (root / "classes.yaml").write_text("classes: [zebra, okapi, horse]\ngroups: {striped: [zebra, okapi]}")
    images = read(root, "b.csv", CSV)
    assert images.classes == ("zebra", "okapi", "horse")
    assert images.groups == {"striped": (0, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: expected at least one image, found none; list one"),
        ("file,label\n", "a.csv: expected at least one image, found none; list one"),
        (
            "file,lable\n1.png,zebra\n",
            "a.csv:1: expected file, label, accepted, group, mask, got 'lable'; did you mean 'label'?",
        ),
        ("label\nzebra\n", "a.csv:1: expected file, label, accepted, group, mask, got none called file"),
        ("file,label,label\n1.png,a,b\n", "a.csv:1: expected every column once, got file, label, label"),
        ("file,label\n1.png,African, elephant\n", "a.csv:2: expected 2 cells, got 3; put what has a comma in quotes"),
        ("file,label\n1.png,\n", "a.csv:2: expected at least one class, got none; fill in label"),
        ("file,label\n,zebra\n", "a.csv:2: expected the path of a file, got ''"),
        (
            "file,label\n1.png,zebra\n3.png,zebra\n",
            "a.csv:3: expected a file, found none at 3.png; did you mean '2.png'?",
        ),
        (
            "file,label\n1.png,zebra\n2.png,okapi\n./1.png,okapi\n",
            "a.csv:4: expected every image once, got '1.png' as in a.csv:2; remove one of the two",
        ),
        ('file,label\n"1.png,zebra\n', "a.csv:2: expected CSV, got unexpected end of data"),
        (
            "file,label\n1.png,7\n",
            "a.csv:2: expected classes by name where nothing lists them, got a number; give image_manifest the model's classes=",
        ),
        (
            "file,label,mask\n1.png,zebra,masks/2.png\n",
            "a.csv:2: expected a file, found none at masks/2.png; did you mean '1.png'?",
        ),
    ],
)
def test_a_table_that_is_wrong_is_told_by_its_line(root: Path, text: str, message: str) -> None:
    found = refused(root, "a.csv", text)
    assert found == message


@pytest.mark.parametrize("path", ["../1.png", "/etc/passwd", "sub/../../1.png"])
def test_a_path_out_of_the_root_is_refused(root: Path, path: str) -> None:
    assert refused(root, "a.csv", f"file,label\n{path},zebra\n") == (
        f"a.csv:2: expected file to be a path below {root}, got {path!r}; give image_manifest another root="
    )


def test_a_link_out_of_the_root_is_a_bad_image(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = paint(tmp_path_factory.mktemp("outside") / "secret.png")
    (root / "7.png").symlink_to(outside)
    images = read(root, "a.csv", "file,label\n7.png,zebra\n1.png,zebra\n", on_bad_image="skip")
    assert [image_id for image_id, _ in images.skipped] == ["7.png"]
    assert read(root, "a.csv", "file,label\n7.png,zebra\n", follow_links=True).bad() == ()


def test_a_label_that_is_no_class_is_told_with_the_nearest(root: Path) -> None:
    assert refused(root, "a.csv", "file,label\n1.png,zebar\n", classes=["okapi", "zebra"]) == (
        "a.csv:2: expected one of 2 classes (okapi, zebra), got the label 'zebar'; did you mean 'zebra'?"
    )


def test_the_first_five_entries_that_are_wrong_are_told_at_once(root: Path) -> None:
    text = "file,label\n" + "".join(f"none/{n}.jpg,zebra\n" for n in range(7))
    lines = refused(root, "a.csv", text).splitlines()
    assert lines[:5] == [f"a.csv:{n + 2}: expected a file, found none at none/{n}.jpg" for n in range(5)]
    assert lines[5:] == ["and 2 more entries that are wrong"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", "a.json: expected a manifest as a list, got something else; put the entries into [ ... ]"),
        ("a.json", '[\n{"file": "1.png",\n}]', "a.json:3: expected JSON, got "),
        ("a.json", '[\n\n{"file": "1.png", "label": "a"},\n{"file": 3, "label": "a"}]', "a.json:4: expected the path of a file, got 3"),
        ("a.json", "[" * 100_000, "a.json: expected JSON, got one that is nested too deeply"),
        ("a.json", "[1]", "a.json:1: expected an entry with file and label, got 1"),
        ("a.jsonl", '{"file": "1.png", "label": "a"}\n\n{"file": }', "a.jsonl:3: expected JSON, got Expecting value"),
        ("a.yaml", "7", "a.yaml: expected a manifest as a list or a mapping, got something else"),
        ("a.yaml", "- file: 1.png\n  label: no\n", "a.yaml:1: expected a class by name or index, got False; put names such as 'no' in quotes"),
        ("a.yaml", "1.png: zebra\n2.png: {lable: zebra}\n", "a.yaml:2: expected file, label, accepted, group, mask, got 'lable'; did you mean 'label'?"),
        ("a.yaml", "- !!python/object/apply:os.system [ls]\n", "a.yaml:1: expected YAML, got could not determine a constructor"),
        ("a.yaml", "1.png: [zebra\n", "a.yaml:2: expected YAML, got expected ',' or ']', but got '<stream end>'"),
        ("a.yaml", "1.png: {label: zebra, group: [1]}\n", "a.yaml:1: expected group to be a name or a list of names, got [1]"),
        ("a.yaml", "1.png: {label: zebra, mask: [1]}\n", "a.yaml:1: expected mask to be the path of a file, got [1]"),
    ],
)  # fmt: skip
def test_a_list_that_is_wrong_is_told_by_its_line(root: Path, name: str, text: str, message: str) -> None:
    assert refused(root, name, text).startswith(message)


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name in ("none.csv", "none.json", "none.yaml"):
        with pytest.raises(InputError) as error:
            image_manifest(tmp_path / name)
        assert str(error.value) == (
            f"{tmp_path / name}: expected a manifest, could not read it: No such file or directory"
        )

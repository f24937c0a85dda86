"""Sets as values: the same images at another size, bad ones that fail or are left out, groups, masks, the model's classes."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms.functional import to_tensor

from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet, LabelledImage, bad_ones
from pytest_robustness.loading import image_folder, labelled_images
from pytest_robustness.preprocessing import Geometry

from .test_images import noise, saved
from .test_loading import ids, paint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six pictures of noise, of two classes."""
    for number in range(6):
        path = tmp_path / "images" / ("zebra" if number % 2 else "okapi") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        saved(path, noise(12 + number, 15, 3))
    return tmp_path / "images"


def test_a_set_is_prepared_for_another_geometry_and_hashes_no_file_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = image_folder(root)
    images.digest()
    geometry = Geometry((11, 10), 8, "bicubic")
    other = images.prepared(geometry)
    monkeypatch.setattr("pytest_robustness.image_sets.file_bytes", None)
    assert other.digest() != images.digest()
    monkeypatch.undo()
    assert other.digest() == image_folder(root, resize=(11, 10), crop=8, interpolation="bicubic").digest()
    assert other.batch(ids(other)).images.shape == (6, 3, 8, 8)
    assert (ids(other), other.classes, other.name) == (ids(images), images.classes, images.name)
    assert other.reading.geometry == geometry
    assert images.prepared(Geometry()) is images
    assert images.reading.geometry == Geometry()


def test_a_set_has_the_pixels_that_torchvision_makes_of_its_files(root: Path) -> None:
    images = image_folder(root).prepared(Geometry(11, (9, 8), "bicubic"))
    steps = Compose([Resize(11, interpolation=3), CenterCrop((9, 8))])
    for image in images.images:
        with Image.open(image.path) as file:
            assert torch.equal(images.batch([image.id]).images[0], to_tensor(steps(file)))
        assert torch.equal(images.native(image.id), image_folder(root).native(image.id))


@pytest.mark.parametrize(
    "settings",
    [{"interpolation": "bicubic"}, {"orientation": "stored"}, {"background": (0, 0, 0)}],
    ids=["interpolation", "orientation", "background"],
)
def test_the_digest_changes_with_how_files_are_read(root: Path, settings: dict[str, object]) -> None:
    images, changed = image_folder(root), image_folder(root, **settings)  # type: ignore[arg-type]
    assert changed.digest() != images.digest()
    assert changed.digest_of("okapi/0.png") != images.digest_of("okapi/0.png")


def test_the_digest_of_a_set_without_new_settings_is_what_it_was(tmp_path: Path) -> None:
    """Answers are kept under it: recorded before there were interpolations, orientations and backgrounds."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"not even an image")
    digest = image_folder(tmp_path, resize=256, crop=224, accept={"grey"}).digest()
    assert digest == "73168cf38a3e930c515888fdf950a72dd3e3a61056daebfef018833a3f1db47b"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": 0}, "expected resize to be a number of pixels >= 1, or (height, width), got 0"),
        ({"crop": (3, 0)}, "expected crop to be a number of pixels >= 1, or (height, width), got (3, 0)"),
        (
            {"interpolation": "cubic"},
            "expected an interpolation out of nearest, bilinear, bicubic, box, hamming, lanczos, got 'cubic'",
        ),
        ({"orientation": "left"}, "expected orientation to be 'upright', as EXIF says, or 'stored', got 'left'"),
        ({"on_bad_image": "ignore"}, "expected on_bad_image to be 'fail' or 'skip', got 'ignore'"),
    ],
)
def test_settings_that_there_are_not_are_refused_before_an_image_is_read(
    root: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as error:
        image_folder(root, **settings)  # type: ignore[arg-type]
    assert str(error.value) == f"{root.as_posix()}: {message}"


def spoil(root: Path, *names: str) -> None:
    for name in names:
        (root / name).write_bytes((root / name).read_bytes()[:-300])


def test_bad_images_are_listed_all_at_once_with_their_reasons(root: Path) -> None:
    spoil(root, "okapi/2.png", "zebra/3.png")
    (root / "zebra" / "0.png").write_bytes(b"")
    reasons = dict(image_folder(root).bad())
    assert list(reasons) == ["okapi/2.png", "zebra/0.png", "zebra/3.png"]
    assert (
        reasons["zebra/0.png"] == f"{root / 'zebra/0.png'}: expected an image, got an empty file; replace or remove it"
    )
    assert reasons["okapi/2.png"].startswith(
        f"{root / 'okapi/2.png'}: expected a whole image, got one that can't be decoded ("
    )


def test_bad_images_are_skipped_counted_and_named_where_that_is_wanted(root: Path) -> None:
    good = image_folder(root, crop=8)
    spoil(root, "okapi/2.png", "zebra/3.png")
    images = image_folder(root, crop=8, on_bad_image="skip")
    assert ids(images) == ["okapi/0.png", "okapi/4.png", "zebra/1.png", "zebra/5.png"]
    assert [image_id for image_id, _ in images.skipped] == ["okapi/2.png", "zebra/3.png"]
    assert torch.equal(images.batch(ids(images)).images, good.batch(ids(images)).images)
    with pytest.raises(InputError) as error:
        _ = images["okapi/2.png"]
    assert str(error.value) == (
        f"{root.as_posix()}: expected the id of one of its 4 images, got 'okapi/2.png'; did you mean 'okapi/4.png'?"
    )
    assert image_folder(root).skipped == ()


def test_which_images_are_skipped_is_asked_anew_of_another_geometry(root: Path) -> None:
    images = image_folder(root, crop=14, on_bad_image="skip")
    assert [image_id for image_id, _ in images.skipped] == ["okapi/0.png", "zebra/1.png"]
    assert images.prepared(Geometry(crop=12)).skipped == ()
    assert len(images.prepared(Geometry(crop=15))) == 3


def test_a_set_of_which_every_image_is_bad_is_refused_with_the_first_five(root: Path) -> None:
    spoil(root, *ids(image_folder(root)))
    images = image_folder(root, on_bad_image="skip")
    with pytest.raises(InputError) as error:
        len(images)
    head, *lines, last = str(error.value).splitlines()
    assert head == f"{root.as_posix()}: expected at least one image that can be read, got 6 that can't be:"
    assert [line.partition(": ")[0] for line in lines] == [str(root / name) for name in ids(image_folder(root))[:5]]
    assert last == "and 1 more"


def test_five_reasons_are_told_and_the_rest_is_counted() -> None:
    assert bad_ones([("a", "one"), ("b", "two")]) == "\none\ntwo"
    assert bad_ones([(str(n), str(n)) for n in range(7)]) == "\n0\n1\n2\n3\n4\nand 2 more"


def test_a_link_out_of_the_folder_is_a_bad_image_unless_links_are_followed(root: Path, tmp_path: Path) -> None:
    outside = paint(tmp_path / "outside" / "secret.png", 7, (15, 12))
    (root / "zebra" / "7.png").symlink_to(outside)
    (root / "zebra" / "8.png").symlink_to(root / "zebra" / "1.png")
    (root / "zebra" / "herd").symlink_to(outside.parent)
    images = image_folder(root)
    reasons = dict(images.bad())
    assert reasons == {
        f"zebra/{name}": f"{root / 'zebra' / name}: expected a file in {root}, got a link or a path to {there}; copy it, or set follow_links=True"
        for name, there in (("7.png", outside), ("herd", outside.parent))
    }
    assert "zebra/8.png" in ids(images)
    followed = image_folder(root, follow_links=True)
    assert followed.bad() == ()
    assert {"zebra/7.png", "zebra/herd/secret.png"} <= set(ids(followed))


def test_a_class_folder_that_is_a_link_out_is_not_walked(root: Path) -> None:
    (root / "anywhere").symlink_to("/")
    images = image_folder(root)
    assert [image.id for image in images.images if image.labels == (0,)] == ["anywhere"]
    assert [image_id for image_id, _ in images.bad()] == ["anywhere"]


def test_links_that_lead_round_in_a_circle_end(root: Path) -> None:
    (root / "zebra" / "again").symlink_to(root / "zebra")
    assert len(image_folder(root, follow_links=True)) == 6


def test_a_link_that_leads_nowhere_is_a_bad_image_and_not_left_out(root: Path) -> None:
    (root / "zebra" / "7.png").symlink_to(root / "zebra" / "none.png")
    assert image_folder(root).bad() == (
        ("zebra/7.png", f"{root / 'zebra/7.png'}: expected an image file, found none; check the path"),
    )


def test_a_pipe_among_the_images_is_a_bad_image(root: Path) -> None:
    os.mkfifo(root / "zebra" / "7.png")
    assert dict(image_folder(root).bad()) == {
        "zebra/7.png": f"{root / 'zebra/7.png'}: expected an image file, got a pipe, a socket or a device; remove it"
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\xff.png", "zebra/\\udcff.png"),
        (b"a\nb.png", "zebra/a\\nb.png"),
        (b"<img onerror=alert(1)>.png", "zebra/<img onerror=alert(1)>.png"),
        ("rtl\u202egnp.png".encode(), "zebra/rtl\\u202egnp.png"),
        ("łoś ü.png".encode(), "zebra/łoś ü.png"),
    ],
)
def test_ids_are_one_line_of_characters_that_can_be_written(root: Path, name: bytes, shown: str) -> None:
    path = saved(root / "zebra" / "plain.png", noise(12, 15, 3))
    path.rename(os.fsdecode(os.fsencode(root / "zebra") + b"/" + name))
    images = image_folder(root)
    assert shown in ids(images)
    shown.encode("utf-8")
    assert images.bad() == ()


def test_a_class_folder_whose_name_is_no_text_is_a_class_that_can_be_written(root: Path) -> None:
    os.rename(root / "zebra", os.fsencode(root) + b"/\xff")
    images = image_folder(root)
    assert images.classes == ("okapi", "\\udcff")
    assert [image.id for image in images.of_group("\\udcff")] == [f"\\udcff/{n}.png" for n in (1, 3, 5)]
    assert images.bad() == ()


def test_images_have_groups_and_masks(root: Path) -> None:
    images = ImageSet(
        [
            LabelledImage("a", root / "okapi/0.png", (0,), ("night", "far"), root / "mask.png"),
            LabelledImage("b", root / "okapi/2.png", (0,), ("night",)),
            LabelledImage("c", root / "okapi/4.png", (0,)),
        ],
        ["okapi"],
        name="animals",
    )
    assert [image.id for image in images.in_group("night")] == ["a", "b"]
    assert [image.id for image in images.in_group("far")] == ["a"]
    assert images.masks == {"a": root / "mask.png"}
    with pytest.raises(InputError) as error:
        images.in_group("nihgt")
    assert str(error.value) == (
        "animals: expected one of the groups of images far, night, got 'nihgt'; did you mean 'night'?"
    )
    with pytest.raises(InputError) as error:
        image_folder(root).in_group("night")
    assert str(error.value) == f"{root.as_posix()}: expected a group of images, of which there is none, got 'night'"


def test_the_models_classes_in_another_order_are_found(root: Path) -> None:
    images = image_folder(root)
    images.check_classes(["okapi", "zebra"])
    with pytest.raises(InputError) as error:
        images.check_classes(["zebra", "okapi"])
    assert str(error.value) == (
        f"{root.as_posix()}: expected the model's classes in the model's order, got 2 of 2 in other places: 0 is 'okapi' here and "
        "'zebra' to the model, 1 is 'zebra' here and 'okapi' to the model; give the image set classes= in the model's order"
    )


def test_labelled_images_take_the_settings_too(root: Path) -> None:
    labels = {"zebra/1.png": ["zebra"], "../images/okapi/0.png": ["okapi"], "../secret.png": ["okapi"]}
    images = labelled_images(root, labels, classes=["okapi", "zebra"], resize=(9, 7), on_bad_image="skip")
    assert images.batch(["zebra/1.png"]).images.shape == (1, 3, 9, 7)
    assert [image_id for image_id, _ in images.skipped] == ["../secret.png"]

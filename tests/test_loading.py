"""Image sets: which files belong, what they accept, and what identifies them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from pytest_robustness.errors import InputError
from pytest_robustness.images import read_pixels
from pytest_robustness.loading import ImageSet, LabelledImage, image_folder, labelled_images


def paint(path: Path, level: int = 0, size: tuple[int, int] = (4, 4)) -> Path:
    """A picture of one grey level, as RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three zebras and two okapis, whose grey levels tell them apart."""
    for level, name in enumerate(("zebra/1.png", "zebra/2.png", "zebra/3.png", "okapi/1.png", "okapi/2.png")):
        paint(tmp_path / "images" / name, 10 * level)
    return tmp_path / "images"


def ids(images: ImageSet) -> list[str]:
    return [image.id for image in images.images]


def test_a_folder_is_its_images_by_path_with_their_folders_class(root: Path) -> None:
    images = image_folder(root)
    assert images.name == root.as_posix()
    assert images.classes == ("okapi", "zebra")
    assert len(images) == 5
    assert images.images == (
        LabelledImage("okapi/1.png", root / "okapi/1.png", (0,)),
        LabelledImage("okapi/2.png", root / "okapi/2.png", (0,)),
        LabelledImage("zebra/1.png", root / "zebra/1.png", (1,)),
        LabelledImage("zebra/2.png", root / "zebra/2.png", (1,)),
        LabelledImage("zebra/3.png", root / "zebra/3.png", (1,)),
    )
    assert [images.accepted(image) for image in images.images] == [("okapi",)] * 2 + [("zebra",)] * 3
    assert repr(images) == f"<ImageSet {root.as_posix()}: 5 images, 2 classes>"


def test_the_models_classes_are_in_the_models_order(root: Path) -> None:
    images = image_folder(str(root), classes=["zebra", "tiger", "okapi"])
    assert images.classes == ("zebra", "tiger", "okapi")
    assert {image.id: image.labels for image in images.images} == {
        "okapi/1.png": (2,),
        "okapi/2.png": (2,),
        "zebra/1.png": (0,),
        "zebra/2.png": (0,),
        "zebra/3.png": (0,),
    }


def test_folders_inside_a_class_folder_belong_to_the_class(root: Path) -> None:
    paint(root / "zebra" / "herd" / "okapi" / "1.png")
    images = image_folder(root)
    assert ids(images)[-1] == "zebra/herd/okapi/1.png"
    assert images.accepted(images["zebra/herd/okapi/1.png"]) == ("zebra",)


@pytest.mark.parametrize("name", ["4.PNG", "4.jpg", "4.jpeg", "4.bmp", "4.webp", "4.tif", "4.tiff", "4.Gif"])
def test_images_are_known_by_their_endings(root: Path, name: str) -> None:
    paint(root / "zebra" / name)
    assert f"zebra/{name}" in ids(image_folder(root))


@pytest.mark.parametrize(
    "name", ["zebra/notes.txt", "zebra/png", "zebra/.4.png", ".cache/4.png", "4.png", "zebra/._1.png"]
)
def test_other_files_hidden_ones_and_those_without_a_class_are_left_alone(root: Path, name: str) -> None:
    before = ids(image_folder(root))
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes((root / "zebra/1.png").read_bytes())
    assert ids(image_folder(root)) == before


def test_files_in_a_hidden_folder_inside_a_class_are_left_alone_too(root: Path) -> None:
    """A notebook's .ipynb_checkpoints holds copies of what was opened."""
    before = ids(image_folder(root))
    paint(root / "zebra" / ".ipynb_checkpoints" / "1-checkpoint.png")
    assert ids(image_folder(root)) == before


def test_a_folder_that_is_called_like_an_image_is_none(root: Path) -> None:
    paint(root / "zebra" / "4.png" / "1.png")
    assert ids(image_folder(root))[-1] == "zebra/4.png/1.png"
    assert "zebra/4.png" not in ids(image_folder(root))


def test_a_set_inside_the_working_directory_is_named_relative_to_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert image_folder(root).name == root.name


def test_classes_are_named_or_counted_and_an_image_may_accept_several(root: Path) -> None:
    images = labelled_images(
        root,
        {"zebra/2.png": ["zebra"], "zebra/1.png": [2], "okapi/1.png": ["okapi", 2, "zebra", "okapi"]},
        classes=["okapi", "tiger", "zebra"],
    )
    assert ids(images) == ["okapi/1.png", "zebra/1.png", "zebra/2.png"]
    assert [image.labels for image in images.images] == [(0, 2), (2,), (2,)]
    assert images.accepted(images["okapi/1.png"]) == ("okapi", "zebra")


def test_one_of_two_classes_of_the_same_name_is_given_by_index(root: Path) -> None:
    images = labelled_images(root, {"zebra/1.png": [2]}, classes=["crane", "zebra", "crane"])
    assert images["zebra/1.png"].labels == (2,)
    assert images.accepted(images["zebra/1.png"]) == ("crane",)


def test_a_batch_is_pixels_accepted_classes_and_ids_in_the_order_asked(root: Path) -> None:
    images = labelled_images(
        root,
        {"zebra/1.png": ["zebra"], "zebra/2.png": ["okapi", "zebra"], "okapi/1.png": ["okapi"]},
        classes=["okapi", "tiger", "zebra"],
    )
    batch = images.batch(["zebra/2.png", "okapi/1.png", "zebra/1.png"])
    assert batch.ids == ("zebra/2.png", "okapi/1.png", "zebra/1.png")
    assert (batch.images.shape, batch.images.dtype) == ((3, 3, 4, 4), torch.float32)
    assert torch.equal(batch.images[:, 0, 0, 0], torch.tensor([10.0, 30.0, 0.0]) / 255)
    assert batch.accepted.tolist() == [[True, False, True], [True, False, False], [False, False, True]]


@pytest.mark.parametrize("workers", [1, 4])
def test_chunks_come_in_their_order_whoever_decodes_them_first(root: Path, workers: int) -> None:
    images = image_folder(root)
    order = ids(images)[::-1]
    chunks = [order[:2], order[2:3], [], order[3:]]
    streamed = list(images.streamed(chunks, dict, workers=workers))
    assert [list(chunk) for chunk in streamed] == chunks
    pixels = [read for chunk in streamed for read in chunk.values() if isinstance(read, torch.Tensor)]
    assert torch.equal(torch.stack(pixels), images.batch(order).images)
    assert list(images.streamed([], dict)) == []


def test_no_more_than_two_chunks_are_decoded_ahead_of_their_user(root: Path) -> None:
    images = image_folder(root)
    asked: list[str] = []

    def chunks() -> Iterator[list[str]]:
        for image_id in ids(images):
            asked.append(image_id)
            yield [image_id]

    stream = images.streamed(chunks(), dict)
    assert asked == []
    for place in range(1, 4):
        next(stream)
        assert len(asked) == place + 1
    stream.close()
    assert len(asked) == 4


def test_an_image_that_cannot_be_read_is_an_error_of_its_own_in_its_chunk(root: Path) -> None:
    (root / "zebra/3.png").write_bytes(b"broken")
    images = image_folder(root)
    (chunk,) = images.streamed([ids(images)], dict)
    errors = {image_id: str(read) for image_id, read in chunk.items() if isinstance(read, InputError)}
    assert errors == {
        "zebra/3.png": f"{root / 'zebra/3.png'}: expected an image, got a file in no format that Pillow reads; replace or remove it"
    }
    assert len(chunk) == 5


def test_an_error_of_the_staging_reaches_the_user(root: Path) -> None:
    images = image_folder(root)

    def fails(decoded: object) -> None:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match=r"^no room$"):
        list(images.streamed([ids(images)], fails))


def test_a_probe_is_the_first_images_that_can_be_read(root: Path) -> None:
    images = image_folder(root)
    order = ids(images)
    (root / order[0]).write_bytes(b"broken")
    probe = images.probe(3)
    assert probe is not None
    assert torch.equal(probe, images.batch(order[1:4]).images)
    for image in images.images:
        image.path.write_bytes(b"broken")
    assert image_folder(root).probe(3) is None


@pytest.mark.parametrize("what", ["pixels", "name", "label", "preprocessing"])
def test_the_digest_of_one_image_changes_with(root: Path, what: str) -> None:
    images = labelled_images(root, {"zebra/1.png": ["zebra"]}, classes=["okapi", "zebra"])
    before = images.digest_of("zebra/1.png")
    again = labelled_images(root, {"zebra/1.png": ["zebra"], "okapi/1.png": ["okapi"]}, classes=["okapi", "zebra"])
    assert again.digest_of("zebra/1.png") == before
    name, labels, crop = "zebra/1.png", ["zebra"], None
    if what == "pixels":
        paint(root / name, 9)
    elif what == "name":
        (root / "zebra/1.png").rename(root / "zebra/one.png")
        name = "zebra/one.png"
    elif what == "label":
        labels = ["okapi"]
    else:
        crop = 4
    changed = labelled_images(root, {name: labels}, classes=["okapi", "zebra"], crop=crop)
    assert changed.digest_of(name) != before


@pytest.mark.parametrize("source", ["folder", "labels"])
def test_resize_crop_and_accept_are_those_of_reading(root: Path, source: str) -> None:
    Image.new("L", (9, 6), 51).save(root / "zebra/1.png")
    labels = {"zebra/1.png": ["zebra"], "okapi/1.png": ["okapi"]}
    images = (
        image_folder(root, accept={"grey"}, resize=5, crop=3)
        if source == "folder"
        else labelled_images(root, labels, classes=["okapi", "zebra"], accept={"grey"}, resize=5, crop=3)
    )
    batch = images.batch(["zebra/1.png", "okapi/1.png"])
    assert torch.equal(batch.images[:, 0], (torch.tensor([51.0, 30.0]) / 255).reshape(2, 1, 1).expand(2, 3, 3))


def test_the_digest_is_64_hex_digits_that_stay_and_do_not_know_where_the_set_lies(root: Path, tmp_path: Path) -> None:
    digest = image_folder(root).digest()
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert image_folder(root).digest() == digest
    paint(root / "notes.png")
    (root / "zebra" / "notes.txt").write_text("one of them limps", encoding="utf-8")
    assert image_folder(root).digest() == digest
    moved = tmp_path / "elsewhere"
    for image in image_folder(root).images:
        (moved / image.id).parent.mkdir(parents=True, exist_ok=True)
        (moved / image.id).write_bytes(image.path.read_bytes())
    assert image_folder(moved).digest() == digest
    labels = {image.id: list(image.labels) for image in image_folder(root).images[::-1]}
    assert labelled_images(root, labels, classes=["okapi", "zebra"]).digest() == digest


def flip_a_byte(root: Path) -> ImageSet:
    path = root / "zebra/1.png"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    return image_folder(root)


def rename(root: Path) -> ImageSet:
    (root / "zebra/1.png").rename(root / "zebra/0.png")
    return image_folder(root)


def another_label(root: Path) -> ImageSet:
    labels = {image.id: [*image.labels] for image in image_folder(root).images} | {"zebra/1.png": [0, 1]}
    return labelled_images(root, labels, classes=["okapi", "zebra"])


@pytest.mark.parametrize(
    "change",
    [
        flip_a_byte,
        rename,
        another_label,
        lambda root: image_folder(root, classes=["zebra", "okapi"]),
        lambda root: image_folder(root, classes=["okapi", "zebra", "tiger"]),
        lambda root: image_folder(root, resize=4),
        lambda root: image_folder(root, crop=4),
        lambda root: image_folder(root, accept={"grey"}),
    ],
    ids=["a byte", "an id", "a label", "the order of classes", "a class", "resize", "crop", "accept"],
)
def test_the_digest_changes_with(root: Path, change: Callable[[Path], ImageSet]) -> None:
    before = image_folder(root).digest()
    assert change(root).digest() != before


def test_the_order_in_which_kinds_are_accepted_does_not_change_the_digest(root: Path) -> None:
    one, other = (image_folder(root, accept=accept) for accept in (["grey", "alpha"], ("alpha", "grey", "grey")))
    assert one.digest() == other.digest()


def test_the_digest_of_a_set_with_a_missing_file_differs_and_reading_the_file_is_what_raises(root: Path) -> None:
    images = image_folder(root)
    before = images.digest()
    (root / "zebra/1.png").unlink()
    images = labelled_images(root, {image.id: image.labels for image in images.images}, classes=images.classes)
    assert images.digest() not in (before, image_folder(root).digest())
    with pytest.raises(InputError) as error:
        images.batch(["zebra/1.png"])
    assert str(error.value) == f"{root / 'zebra/1.png'}: expected an image file, found none; check the path"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        image_folder(tmp_path / "none")
    assert str(error.value) == (
        f"{tmp_path / 'none'}: expected a folder with one folder per class, found no folder; check the path"
    )


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    paint(tmp_path / "1.png")
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(InputError) as error:
        image_folder(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: expected one folder per class, found no folder in it; sort the images into class folders"
    )


def test_class_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "zebra").mkdir()
    with pytest.raises(InputError) as error:
        image_folder(tmp_path)
    assert str(error.value) == (
        f"{tmp_path.as_posix()}: expected at least one image, found none; check the path and the file endings"
    )


def test_no_labels_are_no_image_set(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        labelled_images(tmp_path, {}, classes=["zebra"])
    assert str(error.value) == (
        f"{tmp_path.as_posix()}: expected at least one image, found none; check the path and the file endings"
    )


def test_a_folder_that_is_no_class_is_refused_with_the_nearest_class(root: Path) -> None:
    with pytest.raises(InputError) as error:
        image_folder(root, classes=["okapi", "zebras"])
    assert str(error.value) == (
        f"{root / 'zebra'}: expected one of 2 classes (okapi, zebras), got the label 'zebra'; did you mean 'zebras'?"
    )


def test_an_empty_folder_that_is_no_class_is_refused_too(root: Path) -> None:
    """A misspelt class folder must not pass only because its images are still to come."""
    (root / "tigre").mkdir()
    with pytest.raises(InputError) as error:
        image_folder(root, classes=["okapi", "tiger", "zebra"])
    assert str(error.value) == (
        f"{root / 'tigre'}: expected one of 3 classes (okapi, tiger, zebra), got the label 'tigre'; "
        "did you mean 'tiger'?"
    )


def test_a_folder_whose_name_stands_for_two_classes_is_refused(root: Path) -> None:
    with pytest.raises(InputError) as error:
        image_folder(root, classes=["zebra", "okapi", "zebra"])
    assert str(error.value) == (
        f"{root / 'zebra'}: expected one class called 'zebra', got those at [0, 2]; give the index instead, to labelled_images"
    )


@pytest.mark.parametrize("name", ["resize", "crop"])
def test_a_size_below_1_is_refused_before_any_image_is_read(root: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        image_folder(root, **{name: 0})  # type: ignore[arg-type]
    assert str(error.value) == (
        f"{root.as_posix()}: expected {name} to be a number of pixels >= 1, or (height, width), got 0"
    )


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (
            ["zebar"],
            ["okapi", "tiger", "zebra"],
            "expected one of 3 classes (okapi, tiger, zebra), got the label 'zebar'; did you mean 'zebra'?",
        ),
        (["car"], ["okapi", "zebra"], "expected one of 2 classes (okapi, zebra), got the label 'car'"),
        (
            ["car"],
            ["okapi", "lion", "tiger", "zebra"],
            "expected one of 4 classes (okapi, lion, tiger, ...), got the label 'car'",
        ),
        (
            ["crane"],
            ["crane", "zebra", "crane"],
            "expected one class called 'crane', got those at [0, 2]; give the index instead, to labelled_images",
        ),
        ([2], ["okapi", "zebra"], "expected a class index from 0 to 1, got 2; check the labels"),
        ([0, -1], ["okapi", "zebra"], "expected a class index from 0 to 1, got -1; check the labels"),
        ([1.5], ["okapi", "zebra"], "expected a class index from 0 to 1, got 1.5; check the labels"),
        ([None], ["okapi", "zebra"], "expected a class index from 0 to 1, got None; check the labels"),
        (
            [],
            ["okapi", "zebra"],
            "expected at least one accepted class, got none; name one of 2 classes (okapi, zebra)",
        ),
        (
            [],
            ["okapi", "lion", "tiger", "zebra"],
            "expected at least one accepted class, got none; name one of 4 classes (okapi, lion, tiger, ...)",
        ),
    ],
)
def test_labels_that_name_no_class_are_refused(
    root: Path, labels: list[str | int], classes: list[str], message: str
) -> None:
    with pytest.raises(InputError) as error:
        labelled_images(root, {"zebra/1.png": labels}, classes=classes)
    assert str(error.value) == f"{root / 'zebra/1.png'}: {message}"


def test_an_image_given_twice_is_refused(root: Path) -> None:
    image = LabelledImage("zebra/1.png", root / "zebra/1.png", (0,))
    other = LabelledImage("okapi/1.png", root / "okapi/1.png", (0,))
    with pytest.raises(InputError) as error:
        ImageSet([image, other, image], ["zebra"], name="animals")
    assert str(error.value) == "animals: expected every image once, got 'zebra/1.png' twice; give each image one entry"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("zebra/1.jpg", "; did you mean 'zebra/1.png'?"), ("giraffe", "")],
    ids=["nearly there", "far off"],
)
def test_an_unknown_id_is_refused_with_the_nearest_one(root: Path, asked: str, hint: str) -> None:
    images = image_folder(root)
    message = f"{root.as_posix()}: expected the id of one of its 5 images, got {asked!r}{hint}"
    with pytest.raises(InputError) as error:
        _ = images[asked]
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        images.batch(["zebra/1.png", asked])
    assert str(error.value) == message


def test_images_of_different_sizes_do_not_make_a_batch(root: Path) -> None:
    paint(root / "zebra/3.png", size=(6, 5))
    images = image_folder(root)
    with pytest.raises(InputError) as error:
        images.batch(ids(images))
    assert str(error.value) == (
        f"{root / 'zebra/3.png'}: expected 4 x 4 pixels as in {root / 'okapi/1.png'}, got 6 x 5; "
        "give the image set resize= and crop="
    )
    assert image_folder(root, crop=4).batch(ids(images)).images.shape == (5, 3, 4, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda root: image_folder(root, accept=["gray"]),
        lambda root: labelled_images(root, {"zebra/1.png": ["zebra"]}, classes=["zebra"], accept=["gray"]),
    ],
    ids=["folder", "labels"],
)
def test_an_unknown_kind_to_accept_is_refused(root: Path, make: Callable[[Path], ImageSet]) -> None:
    with pytest.raises(InputError) as error:
        make(root)
    assert str(error.value) == (
        f"{root.as_posix()}: expected accept to be a set out of 'grey', 'alpha', '16-bit', 'cmyk', got ['gray']"
    )


def test_a_string_in_place_of_a_list_of_classes_is_refused_not_read_letter_by_letter(root: Path) -> None:
    with pytest.raises(InputError) as error:
        labelled_images(root, {"zebra/1.png": "zebra"}, classes=["okapi", "zebra"])
    assert str(error.value) == (
        f"{root / 'zebra' / '1.png'}: expected a list of accepted classes, got 'zebra'; write ['zebra']"
    )


def test_an_index_may_be_numpys(root: Path) -> None:
    images = labelled_images(root, {"zebra/1.png": [numpy.int64(1)]}, classes=["okapi", "zebra"])  # type: ignore[list-item]
    assert images.images[0].labels == (1,)


def test_a_file_is_decoded_once_while_there_is_room_and_memory_has_a_bound(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counted(path: Path, *rules: object, **data: object) -> torch.Tensor:
        decoded.append(path.name)
        return read_pixels(path)

    monkeypatch.setattr("pytest_robustness.image_sets.read_pixels", counted)
    images = image_folder(root)
    every = ids(images)
    first = images.batch(every).images
    assert torch.equal(images.batch(every).images, first)
    assert len(decoded) == len(every)
    # Room for two images of 4 x 4: going round and round decodes each anew.
    monkeypatch.setattr("pytest_robustness.image_sets._RECENT_BYTES", 2 * first[0].numel())
    images = image_folder(root)
    decoded.clear()
    for _ in range(2):
        assert torch.equal(images.batch(every).images, first)
    assert len(decoded) == 2 * len(every)
    images.batch(every[-2:])
    assert len(decoded) == 2 * len(every)


@pytest.mark.parametrize("label", [2, -1])
def test_labels_of_a_set_that_name_no_class_are_refused(root: Path, label: int) -> None:
    images = [LabelledImage("zebra/1.png", root / "zebra" / "1.png", (0, label))]
    with pytest.raises(InputError) as error:
        ImageSet(images, ["okapi", "zebra"], name="photos")
    assert str(error.value) == (
        f"photos: expected class indices from 0 to 1, got {label} for zebra/1.png; check the labels"
    )

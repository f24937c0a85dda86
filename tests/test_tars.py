"""WebDataset's tars, made here: read in place, and hostile ones told."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
import torch

from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.tars import web_dataset

from .test_images import noise, saved
from .test_loading import ids

CLASSES = ["okapi", "zebra"]


def packed(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def picture(tmp_path: Path, seed: int) -> bytes:
    values = (noise(6, 5, 3).astype(int) + 31 * seed) % 256
    return saved(tmp_path / f"{seed}.png", values.astype("uint8")).read_bytes()


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two shards of two samples, with classes by number, by name and in JSON."""
    first = {
        "a/0000.png": picture(tmp_path, 0),
        "a/0000.cls": b"1\n",
        "a/0001.seg.png": b"x",
        "a/0001.PNG": picture(tmp_path, 1),
    }
    second = {
        "0000.cls": b"zebra",
        "0000.png": picture(tmp_path, 2),
        "0001.png": picture(tmp_path, 3),
        "0001.cls": b"0",
    }
    return [
        packed(tmp_path / "val-000.tar", {**first, "a/0001.cls": b"okapi", "readme.txt": b"photos"}),
        packed(tmp_path / "val-001.tar", second),
    ]


def read(path: object, **settings: object) -> ImageSet:
    return web_dataset(path, classes=CLASSES, **settings)  # type: ignore[arg-type]


def refused(path: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        read(path, **settings)
    return str(error.value).replace(f"{path.parent}/", "")


def test_samples_are_images_with_the_class_of_their_key(shards: list[Path], tmp_path: Path) -> None:
    images = read(tmp_path / "val-*.tar")
    assert ids(images) == ["val-000/a/0000", "val-000/a/0001", "val-001/0000", "val-001/0001"]
    assert [image.labels for image in images.images] == [(1,), (0,), (1,), (0,)]
    assert images.name == f"{shards[0].as_posix()} and 1 more"
    from pytest_robustness.loading import labelled_images

    files = labelled_images(tmp_path, {f"{n}.png": [0] for n in range(4)}, classes=CLASSES)
    assert torch.equal(images.batch(ids(images)).images, files.batch(ids(files)).images)
    assert ids(read(shards[::-1])) == ids(images)
    assert read(str(shards[0])).name == shards[0].as_posix()
    assert images.digest() == read(shards).digest()


def test_a_class_may_be_a_field_of_json(tmp_path: Path) -> None:
    members = {}
    for number, value in enumerate(({"species": "zebra"}, {"species": ["okapi", 1]})):
        members |= {f"{number}.png": picture(tmp_path, number), f"{number}.json": json.dumps(value).encode()}
    images = read(packed(tmp_path / "a.tar", members), label="json.species", resize=8, crop=4)
    assert [image.labels for image in images.images] == [(1,), (0, 1)]
    assert images.batch(ids(images)).images.shape == (2, 3, 4, 4)


def test_shards_may_be_numbered_as_webdataset_does(shards: list[Path], tmp_path: Path) -> None:
    assert ids(read(f"{tmp_path}/val-{{000..001}}.tar")) == ids(read(shards))
    assert refused(tmp_path / "val-{000..002}.tar") == (
        "val-002.tar: expected a tar file or a pattern of tar files, found none; check the path"
    )


def test_shards_of_one_name_in_two_folders_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        packed(tmp_path / folder / "a.tar", {"0.png": picture(tmp_path, 0), "0.cls": b"0"})
    assert ids(read(["x/a.tar", "y/a.tar"])) == ["x/a/0", "y/a/0"]


@pytest.mark.parametrize("name", ["../0.png", "/0.png", "a/../../0.png"])
def test_a_member_whose_name_leads_out_is_a_bad_image_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = packed(folder / "a.tar", {name: picture(tmp_path, 0), name.replace("png", "cls"): b"0"})
    found = refused(path)
    assert found == (
        f"a.tar/{name.replace('png', 'cls')}: expected a member inside the tar, got a name that leads out of it; pack it again"
    )
    path = packed(folder / "a.tar", {name: picture(tmp_path, 0), name.replace("png", "json"): b"0"})
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_a_tar_is_a_bad_image(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("0.png")
    info.type, info.linkname = kind, "/etc/passwd"
    members = {"0.png": info, "0.cls": b"0", "1.png": picture(tmp_path, 1), "1.cls": b"1"}
    images = read(packed(tmp_path / "a.tar", members), on_bad_image="skip")
    assert images.skipped == (
        (
            "a/0",
            f"{tmp_path}/a.tar/0.png: expected a plain file, got a link, a device or a sparse one; pack it again",
        ),
    )


def test_a_member_that_says_it_is_larger_than_the_tar_is_told(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", {"0.cls": b"0", "0.png": picture(tmp_path, 0)})
    data = path.read_bytes()
    path.write_bytes(data[: 512 + 512 + 512 + 40])
    assert refused(path) == (
        "a.tar: expected a tar file that is whole and not compressed, got one that can't be read (unexpected end of data); "
        "unzip it, or fetch it again"
    )


def test_a_tar_that_shrinks_behind_our_back_is_a_bad_image(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", {"0.cls": b"0", "0.png": picture(tmp_path, 0)})
    images = read(path)
    size = images.images[0].content.size  # type: ignore[union-attr]
    path.write_bytes(path.read_bytes()[: 3 * 512 + 10])
    assert images.bad() == (("a/0", f"{path}/0.png: expected {size} bytes, got 10; {path} is cut off"),)
    path.unlink()
    assert images.bad() == (
        (
            "a/0",
            f"{path}/0.png: expected a file that can be read, got one that can't be (No such file or directory); check {path}",
        ),
    )


@pytest.mark.parametrize("content", [b"no tar at all", b"", b"\x1f\x8b"])
def test_what_is_no_tar_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(b"x") if content == b"\x1f\x8b" else content)
    assert refused(path).startswith(
        "a.tar: expected a tar file that is whole and not compressed, got one that can't be read ("
    )


@pytest.mark.parametrize(
    ("members", "settings", "message"),
    [
        ({"0.png": b"x"}, {}, "a.tar/0.png: expected its class in 0.cls, found no such member; give label="),
        ({"0.png": b"x", "0.cls": b"tiger"}, {}, "a.tar/0.cls: expected one of 2 classes (okapi, zebra), got the label 'tiger'"),
        ({"0.png": b"x", "0.cls": b"9"}, {}, "a.tar/0.cls: expected a class index from 0 to 1, got 9; check the labels"),
        ({"0.png": b"x", "0.jpg": b"x", "0.cls": b"1"}, {}, "a.tar/0.jpg: expected one image for each key, got {}/a.tar/0.png too; give it another key"),
        ({"0.png": b"x", "0.json": b"{"}, {"label": "json.a"}, "a.tar/0.json: expected a class, got what can't be read: Expecting property name enclosed in double quotes"),
        ({"0.png": b"x", "0.json": b"{}"}, {"label": "json.a"}, "a.tar/0.json: expected JSON with the field 'a', got none; give label="),
        ({"0.png": b"x", "0.json": b"{}"}, {"label": "json"}, "a.tar/0.json: expected a class by name or index, got '{}'; give label='json.<field>'"),
        ({"0.png": b"x", "0.cls": b"\xff"}, {}, "a.tar/0.cls: expected a class, got what can't be read: no UTF-8 text, or nested too deeply"),
        ({"0.png": b"x", "0.cls": b"1" * (2**20 + 1)}, {}, f"a.tar/0.cls: expected a class, got {2**20 + 1} bytes"),
        ({"0.txt": b"x"}, {}, "a.tar: expected at least one image, found none; check the path and the file endings"),
    ],
)  # fmt: skip
def test_a_tar_that_is_wrong_is_told_by_its_member(
    tmp_path: Path, members: dict[str, bytes | tarfile.TarInfo], settings: dict[str, object], message: str
) -> None:
    found = refused(packed(tmp_path / "a.tar", members), **settings)
    assert found == message.replace("{}/", "")


def test_a_missing_tar_and_a_pattern_of_none_are_told(tmp_path: Path) -> None:
    assert (
        refused(tmp_path / "b-*.tar")
        == "b-*.tar: expected a tar file or a pattern of tar files, found none; check the path"
    )
    with pytest.raises(InputError) as error:
        read([])
    assert str(error.value) == "expected at least one tar file, got none; name one"

"""Image sets from WebDataset's tar files: samples are members of one key, such as `00012.jpg` and `00012.cls`.

Nothing is unpacked: the members are indexed once, and an image's bytes are read at their place. So names that lead elsewhere and links
can do no harm, and are told.
"""

import glob
import itertools
import json
import re
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pytest_robustness.classes import ClassList, class_list
from pytest_robustness.contents import Content, Part, Refused
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet, LabelledImage, OnBadImage, reading_of
from pytest_robustness.images import Colour, Kind, Orientation
from pytest_robustness.loading import SUFFIXES
from pytest_robustness.preprocessing import Interpolation, Size
from pytest_robustness.records import path_text, printable

__all__ = ["web_dataset"]

_LABEL_BYTES = 2**20


def web_dataset(
    paths: str | Path | Sequence[str | Path],
    *,
    classes: Sequence[str] | str | Path,
    label: str = "cls",
    accept: Collection[Kind] = (),
    resize: Size = None,
    crop: Size = None,
    interpolation: Interpolation = "bilinear",
    orientation: Orientation = "upright",
    background: Colour = (255, 255, 255),
    on_bad_image: OnBadImage = "fail",
) -> ImageSet:
    """The images in tar files: `paths` is a file, several, or a pattern such as `val-*.tar` or `val-{000..007}.tar`.

    `label` is the ending of the member that has the class, by name or by index; `json.species` is the field of a JSON member, where
    several may be listed. Ids are the tar's name and the key: `val-000/00012`. Of a sample the member is taken whose ending is that of an
    image and has one part: `00012.jpg`, not `00012.seg.png`. The other settings are those of `image_folder`.

    Raises InputError for a tar that is missing, packed or cut off, and a sample without a class, or with one that is unknown.
    """
    known = class_list(classes)
    files = _files(paths)
    name = path_text(files[0]) if len(files) == 1 else f"{path_text(files[0])} and {len(files) - 1} more"
    stems = [file.name.removesuffix(".tar") for file in files]
    # Shards of one name in different folders keep them.
    shards = stems if len(set(stems)) == len(stems) else [path_text(file).removesuffix(".tar") for file in files]
    return ImageSet(
        (
            image
            for file, shard in zip(files, shards, strict=True)
            for image in _images(file, printable(shard), known, label)
        ),
        known.names,
        name=name,
        reading=reading_of(
            name,
            accept=accept,
            resize=resize,
            crop=crop,
            interpolation=interpolation,
            orientation=orientation,
            background=background,
        ),
        groups=known.groups,
        on_bad_image=on_bad_image,
    )


def _files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found: list[Path] = []
    for path in itertools.chain.from_iterable(_shards(str(path)) for path in given):
        matching = [path] if Path(path).exists() else sorted(glob.glob(path))
        if not matching:
            raise InputError(f"{path}: expected a tar file or a pattern of tar files, found none; check the path")
        found.extend(map(Path, matching))
    if not found:
        raise InputError("expected at least one tar file, got none; name one")
    return found


def _shards(pattern: str) -> list[str]:
    """WebDataset's `val-{000..007}.tar` as the names it stands for; another name as it is."""
    found = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", pattern, re.DOTALL)
    if found is None:
        return [pattern]
    before, first, last, after = found.groups()
    return [f"{before}{number:0{len(first)}}{after}" for number in range(int(first), int(last) + 1)]


def _images(file: Path, shard: str, known: ClassList, label: str) -> Iterator[LabelledImage]:
    ending, _, entry = label.partition(".")
    contents: dict[str, tuple[str, Content]] = {}
    labels: dict[str, Part] = {}
    for member in _members(file):
        where = f"{path_text(file)}/{printable(member.name)}"
        key, suffix = _split(member.name)
        image = f".{suffix}" in SUFFIXES
        if not image and suffix != ending:
            continue
        if image and key in contents:
            raise InputError(
                f"{where}: expected one image for each key, got {contents[key][0]} too; give it another key"
            )
        fault = _fault(member, file)
        if image:
            contents[key] = (where, Refused(f"{where}: {fault}") if fault else _part(file, member, where))
        elif fault:
            raise InputError(f"{where}: {fault}")
        else:
            labels[key] = _part(file, member, where)
    for key, (where, content) in contents.items():
        if key not in labels:
            raise InputError(
                f"{where}: expected its class in {printable(key)}.{ending}, found no such member; give label="
            )
        indices = {known.index(given, labels[key].name) for given in _given(labels[key], ending, entry)}
        yield LabelledImage(f"{shard}/{printable(key)}", Path(where), known.accepted(indices), content=content)


def _members(file: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield from (member for member in tar if not member.isdir())
    except FileNotFoundError:
        raise InputError(f"{file}: expected a tar file, found none; check the path") from None
    except tarfile.ReadError as error:
        what = f"a tar file that is whole and not compressed, got one that can't be read ({error})"
        raise InputError(f"{file}: expected {what}; unzip it, or fetch it again") from None
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InputError(f"{file}: expected a tar file, got one that can't be read ({error})") from None


def _split(name: str) -> tuple[str, str]:
    """The key of a member and its ending, in small letters, as WebDataset has them: cut at the first dot of the file's name."""
    folder, slash, last = name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _fault(member: tarfile.TarInfo, file: Path) -> str:
    """What is wrong with a member, empty where nothing is."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "expected a member inside the tar, got a name that leads out of it; pack it again"
    if not member.isreg() or member.issparse():
        return "expected a plain file, got a link, a device or a sparse one; pack it again"
    if member.size < 0 or member.offset_data + member.size > file.stat().st_size:
        return f"expected {member.size} bytes, got the end of the tar; fetch it again"
    return ""


def _part(file: Path, member: tarfile.TarInfo, where: str) -> Part:
    return Part(file, member.offset_data, member.size, where)


def _given(part: Part, ending: str, entry: str) -> list[str | int]:
    """The classes in a member: a number, a name, or what JSON has in the entry."""
    if part.size > _LABEL_BYTES:
        raise InputError(f"{part.name}: expected a class, got {part.size} bytes")
    try:
        text = part.read().decode("utf-8").strip()
        value = json.loads(text) if ending == "json" else int(text) if text.isdecimal() else text
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "no UTF-8 text, or nested too deeply"
        raise InputError(f"{part.name}: expected a class, got what can't be read: {reason}") from None
    if entry:
        if not isinstance(value, dict) or entry not in value:
            raise InputError(f"{part.name}: expected JSON with the field {entry!r}, got none; give label=")
        value = value[entry]
    listed = value if isinstance(value, list) else [value]
    if not listed or any(isinstance(given, bool) or not isinstance(given, (str, int)) for given in listed):
        raise InputError(
            f"{part.name}: expected a class by name or index, got {str(value)[:80]!r}; give label='json.<field>'"
        )
    return listed

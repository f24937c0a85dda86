"""What the markers of a test say, and which images it runs on.

Nothing heavy is imported here, as in the plugin.
"""

import collections
import fnmatch
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robustness.nodeids import clean

if TYPE_CHECKING:
    from pytest_robustness.image_sets import ImageSet, LabelledImage

__all__ = ["clean_ids", "marked", "matching"]


def marked(item: pytest.Item) -> dict[str, Any]:
    """What the test's markers say: of `images` and `shard` the nearest one that has them, of `waive` the nearest for each check."""
    from pytest_robustness.errors import InputError

    said: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("robustness"))):
        known = set(marker.kwargs) <= {"images", "shard", "waive"} and marker.kwargs.get("shard", "pairs") == "pairs"
        if marker.args or not known:
            got = ", ".join([*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())])
            raise InputError(
                f"{item.name}: expected @pytest.mark.robustness(images='pattern', waive={{'check': 'reason'}}, shard='pairs'), "
                f"got robustness({got})"
            )
        merged = said.get("waive", {})
        said |= marker.kwargs
        if "waive" in marker.kwargs:
            from pytest_robustness.doubts import checked_waivers

            said["waive"] = merged | checked_waivers(marker.kwargs["waive"], f"{item.name}: ")
    if "shard" in said and "robustness_image" in getattr(item, "fixturenames", ()):
        raise InputError(
            f"{item.name}: expected shard='pairs' on a test of all images, got it on one with robustness_image, which runs on the "
            "shard of its image; leave it out"
        )
    return said


def matching(images: "ImageSet", test: str, chosen: "Mapping[str, Any]") -> "list[LabelledImage]":
    """The images that the test of this name chooses; InputError where it chooses none."""
    from pytest_robustness.errors import InputError

    patterns = chosen.get("images", "*")
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    matching = [image for image in images.images if any(_matches(image, pattern) for pattern in patterns)]
    if not matching:
        raise InputError(
            f"{test}: expected images={chosen['images']!r} to match one of the {len(images)} images of {images.name}, "
            f"it matches none; ids look like {images.images[0].id!r}"
        )
    return matching


def _matches(image: "LabelledImage", pattern: str) -> bool:
    """Whether the image's id is of the pattern, or of `group:pattern` one of its groups."""
    kind, _, group = pattern.partition("group:")
    if not kind and group:
        return any(fnmatch.fnmatchcase(name, group) for name in image.groups)
    return fnmatch.fnmatchcase(image.id, pattern)


def clean_ids(images: "Sequence[LabelledImage]") -> list[str]:
    """Test ids: the file's stem where it is unique, else the path inside the set; letters, digits, `_`, `.`, `-`."""
    stems = collections.Counter(image.path.stem for image in images)
    wanted = [i.path.stem if stems[i.path.stem] == 1 else i.id.removesuffix(i.path.suffix) for i in images]
    cleaned = [clean(name) for name in wanted]
    twice = {name for name, count in collections.Counter(cleaned).items() if count > 1}
    return [f"{name}-{place}" if name in twice else name for place, name in enumerate(cleaned)]

"""Node ids of pytest, as far as they name an image."""

import re
from pathlib import PurePosixPath

__all__ = ["clean", "without_image"]


def clean(name: str) -> str:
    """The name with letters, digits, `_`, `.` and `-` alone, as node ids may have it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name) or "image"


def without_image(nodeid: str, image: str) -> str:
    """The node id of a test of this image without the part that names the image: the same for all images of the test.

    Other parameters stay: `t.py::test[fog-dark_2]` is `t.py::test[fog]`. A node id that doesn't name the image is left as it is.
    """
    test, bracket, parameters = nodeid.partition("[")
    if not bracket:
        return nodeid
    path = PurePosixPath(image)
    # The path first: it ends with the stem.
    for name in (clean(image.removesuffix(path.suffix)), clean(path.stem)):
        found = re.search(rf"(?:^|-){re.escape(name)}(?=-|$)", parameters[:-1])
        if found is not None:
            left = (parameters[: found.start()] + parameters[found.end() : -1]).removeprefix("-")
            return f"{test}[{left}]" if left else test
    return nodeid

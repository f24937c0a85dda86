"""What the common corruptions cost an image of 224 pixels.

This package, in batches of 16 and one by one, beside imagecorruptions (the fork imagecorruptions-imaug, which runs with
today's libraries). Everybody has the same pictures and one thread, and goes through severities 1 to 5; this package
is given and returns float tensors, imagecorruptions arrays of bytes, one at a time. Rounds take turns; figures are medians
over the rounds, ratios are taken within a round. The pixels that glass moves are moved by a loop that the fork compiles
and imagecorruptions, as published, does not: the sum is given with either.
"""

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmarks.material import ROOT
from benchmarks.measure import Figure, Worker, interleaved
from benchmarks.parts import Setting
from benchmarks.table import Headline, Row, Section, Target

if TYPE_CHECKING:
    import torch

__all__ = ["common_corruptions"]

_SIDE = 224
_BATCH = 16
_PEERS = 2
_SEVERITIES = (1, 2, 3, 4, 5)


def common_corruptions(setting: Setting) -> Iterator[Section]:
    """The fifteen and their sum, then the four that are no part of it."""
    with Worker(threads=1) as worker:
        common, extra = worker.call(_names)
        found = {name: worker.call(_milliseconds, name, setting.repeats) for name in (*common, *extra)}
        loop = worker.call(_milliseconds_of_the_loop) if found["glass_blur"]["peer"] else None
    measured = "a thousand images, the mean of severities 1 to 5"
    rows = [row for name in common for row in _rows(name, found[name])]
    sums = {who: _sum([found[name][who] for name in common]) for who in found[common[0]]}
    rows += _rows("all fifteen", sums)
    if loop is not None and sums["peer"] is not None:
        others = _sum([found[name]["peer"] for name in common if name != "glass_blur"])
        assert others is not None
        published = Figure(tuple(value + loop for value in others.values))
        rows += _rows("all fifteen, glass by a loop", {**sums, "peer": published}, Target("<=", 1 / 20))
    yield Section(f"g. common corruptions: {measured}", "time over imagecorruptions'", rows)
    rows = [row for name in extra for row in _rows(name, found[name])]
    yield Section(f"g. the four others: {measured}", "time over imagecorruptions'", rows)


def _rows(title: str, found: dict[str, Figure | None], target: Target | None = None) -> Iterator[Row | Headline]:
    yield Headline(title)
    peer = found["peer"]
    if peer is None:
        yield Row("imagecorruptions", remark="not installed")
    else:
        yield Row("imagecorruptions", peer)
    for who, name in (("batch", f"in batches of {_BATCH}"), ("single", "one by one")):
        figure = found[who]
        assert figure is not None
        ratio = None if peer is None else figure.over(peer)
        yield Row(name, figure, ratio, (target or Target("<=", 1)) if ratio else None)


def _sum(figures: Sequence[Figure | None]) -> Figure | None:
    """Round by round; None where one is missing."""
    known = [figure for figure in figures if figure is not None]
    if len(known) < len(figures):
        return None
    return Figure(tuple(map(sum, zip(*(figure.values for figure in known), strict=True))))


def _names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    from pytest_robustness.corruptions import COMMON, EXTRA

    return COMMON, EXTRA


def _pictures(n: int) -> "torch.Tensor":
    """Drawn pictures of the example set, enlarged."""
    import torch
    import torch.nn.functional as F

    from pytest_robustness.images import read_image

    paths = sorted((ROOT / "fixtures" / "images").glob("*/*.png"))[:: 300 // n][:n]
    return F.interpolate(torch.stack([read_image(path) for path in paths]), size=(_SIDE, _SIDE), mode="bicubic").clamp(
        0, 1
    )


def _milliseconds(name: str, repeats: int) -> dict[str, Figure | None]:
    """An image at a severity, so seconds for a thousand, by who corrupts it; None where imagecorruptions is not there."""
    import torch

    from pytest_robustness.corruptions import Corruption
    from pytest_robustness.seeding import Streams

    images, corruption = _pictures(_BATCH), Corruption(name)

    def ours(n: int, at_once: int) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            for severity in _SEVERITIES:
                for start in range(0, n, at_once):
                    ids = tuple(map(str, range(start, start + at_once)))
                    strengths = torch.full((at_once,), float(severity))
                    corruption(images[start : start + at_once], strengths, Streams(0, repr(corruption), ids))
            return (time.perf_counter() - began) / n

        return run

    runs = {"batch": ours(_BATCH, _BATCH), "single": ours(4, 1)}
    try:
        import cv2

        imagecorruptions = importlib.import_module("imagecorruptions")
    except ImportError:
        peer = None
    else:
        cv2.setNumThreads(1)
        arrays = (images[:_PEERS] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

        def peer() -> float:
            began = time.perf_counter()
            for severity in _SEVERITIES:
                for array in arrays:
                    imagecorruptions.corrupt(array, severity=severity, corruption_name=name)
            return (time.perf_counter() - began) / len(arrays)

        runs["peer"] = peer
    for run in runs.values():
        run()
    found: dict[str, Figure | None] = {
        who: Figure(tuple(seconds)).scaled(1000 / len(_SEVERITIES))
        for who, seconds in interleaved(runs, repeats).items()
    }
    return {"peer": None, **found}


def _milliseconds_of_the_loop() -> float:
    """What glass costs an image in imagecorruptions as published, whose loop is not compiled."""
    from unittest import mock

    import torch

    corruptions = importlib.import_module("imagecorruptions.corruptions")
    array = (_pictures(1)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    compiled = corruptions._shuffle_pixels_njit_glass_blur
    began = time.perf_counter()
    with mock.patch.object(corruptions, "_shuffle_pixels_njit_glass_blur", compiled.py_func):
        for severity in _SEVERITIES:
            corruptions.glass_blur(array, severity, seed=0)
    return 1000 * (time.perf_counter() - began) / len(_SEVERITIES)

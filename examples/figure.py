"""Figures as PNG files: charts, histograms, scatters and rows of pictures, drawn with Pillow.

The report's own drawings say where every line, tick and label goes; here they become pixels in place of SVG. Lengths are in
units of the drawing, y downwards; a file has `_PER_UNIT` pixels to the unit.
"""

import base64
import functools
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from pytest_robustness.charts import Chart
from pytest_robustness.report.lines import drawing
from pytest_robustness.report.rates import Histogram, Scatter

__all__ = [
    "below",
    "beside",
    "chart",
    "from_tensor",
    "from_uri",
    "histogram",
    "kept",
    "save",
    "scatter",
    "tile",
    "titled",
]

_PER_UNIT = 2
# Lines and polygons have no smooth edges in Pillow: they are drawn larger, and averaged.
_FINER = 2
_SCALE = _PER_UNIT * _FINER
_GAP = 10

_INK, _SOFT, _RULE, _BLUE = "#1c2430", "#566170", "#d9dee5", "#2460c0"
# The colours of the report, and the corners of the points: 0 is a disc.
_STYLES = {
    "subject": (_BLUE, 0),
    "intruder": ("#b83c0b", 4),
    "other-0": ("#0f6b64", 0),
    "other-1": ("#7436d1", 4),
    "other-2": ("#85590c", 3),
    "other-3": ("#b3175a", 5),
    "other-4": ("#44690f", 6),
    "other-5": ("#46546a", 8),
}
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}

_Points = Sequence[tuple[float, float]]


def chart(curves: Chart, *, width: int = 440, height: int = 250) -> Image.Image:
    """The lines with their bands, marks and a key, as the report draws them."""
    placed = drawing(curves, width=width, height=height)
    canvas = _Canvas(width, height + 17 * len(placed.lines) + 26)
    canvas.text(8, 13, placed.title)
    canvas.down = 16
    bands = ", with 95 % intervals" if any(line.band for line in placed.lines) else ""
    canvas.text(8, 12, placed.up + bands, colour=_SOFT)
    for tick in placed.y:
        canvas.line([(placed.left, tick.at), (placed.right, tick.at)], _RULE)
        canvas.text(placed.left - 6, tick.at + 4, tick.text, "end", colour=_SOFT)
    for tick in placed.x:
        canvas.text(tick.at, placed.base + 18, tick.text, "middle", colour=_SOFT)
    canvas.text((placed.left + placed.right) / 2, placed.base + 35, placed.across, "middle", colour=_SOFT)
    for line in placed.lines:
        colour, corners = _STYLES[line.style]
        if line.band:
            canvas.area(_points(line.band), colour, opacity=0.13)
        canvas.line(_points(line.path), colour, width=2)
        for dot in line.dots:
            canvas.dot((dot.x, dot.y), colour, corners)
    for at in dict.fromkeys(placed.at):
        canvas.dashes(
            at, min(mark.y - 9 for mark, own in zip(placed.marks, placed.at, strict=True) if own == at), placed.base
        )
    for mark in placed.marks:
        canvas.text(mark.x, mark.y, mark.text, mark.anchor)
    for row, line in enumerate(placed.lines):
        colour, corners = _STYLES[line.style]
        y = height + 17 * row + 8
        canvas.line([(placed.left, y), (placed.left + 30, y)], colour, width=2)
        if line.dots:
            canvas.dot((placed.left + 15, y), colour, corners)
        canvas.text(placed.left + 38, y + 4, line.name)
    return canvas.finished()


def histogram(bars: Histogram) -> Image.Image:
    """How the rates of the classes are spread."""
    canvas = _Canvas(bars.width, bars.height + 18)
    canvas.text(8, 13, f"classes by {bars.kind} rate")
    canvas.down = 16
    for tick in bars.y:
        canvas.line([(bars.left, tick.at), (bars.right, tick.at)], _RULE)
        canvas.text(bars.left - 6, tick.at + 4, tick.text, "end", colour=_SOFT)
    for bar in bars.bars:
        canvas.area(_box(bar.x, bar.y, bar.x + bar.width, bar.y + bar.height), _BLUE)
    for tick in bars.x:
        canvas.text(tick.at, bars.base + 16, tick.text, "middle", colour=_SOFT)
    canvas.dashes(bars.median.at, 6, bars.base)
    after = bars.median.at < (bars.left + bars.right) / 2
    canvas.text(bars.median.at + (4 if after else -4), 14, bars.median.text, "start" if after else "end")
    canvas.text((bars.left + bars.right) / 2, bars.base + 32, f"{bars.kind} rate", "middle", colour=_SOFT)
    return canvas.finished()


def scatter(dots: Scatter) -> Image.Image:
    """Mimic rates against modify rates, a dot for each class."""
    canvas = _Canvas(dots.width, dots.height + 18)
    canvas.text(8, 13, "mimic rate against modify rate")
    canvas.down = 16
    for tick in dots.y:
        canvas.line([(dots.left, tick.at), (dots.right, tick.at)], _RULE)
        canvas.text(dots.left - 6, tick.at + 4, tick.text, "end", colour=_SOFT)
    for tick in dots.x:
        canvas.line([(tick.at, dots.top), (tick.at, dots.base)], _RULE)
        canvas.text(tick.at, dots.base + 16, tick.text, "middle", colour=_SOFT)
    canvas.dashes(dots.medians[0].at, dots.top, dots.base)
    canvas.dashes(dots.medians[1].at, dots.left, dots.right, across=True)
    for dot in dots.dots:
        canvas.dot((dot.x, dot.y), _BLUE, 0, radius=dot.radius)
    for label in dots.labels:
        canvas.text(label.x, label.y, label.text, label.anchor, size=11)
    canvas.text((dots.left + dots.right) / 2, dots.base + 33, "modify rate", "middle", colour=_SOFT)
    return canvas.finished()


def tile(
    picture: Image.Image, lines: Iterable[str], *, width: int = 96, overlay: Image.Image | None = None
) -> Image.Image:
    """A picture of this width with lines of text below it; an `overlay` with an alpha channel is laid over it."""
    told = list(lines)
    height = round(width * picture.height / picture.width)
    canvas = _Canvas(width, height + 14 * len(told) + 4)
    size = (width * _SCALE, height * _SCALE)
    # Small pictures keep their pixels, large ones are averaged.
    sampling = Image.Resampling.NEAREST if picture.width < size[0] else Image.Resampling.BOX
    shown = picture.convert("RGB").resize(size, sampling)
    if overlay is not None:
        heat = overlay.convert("RGBA").resize(size, Image.Resampling.NEAREST)
        shown.paste(heat, mask=heat.getchannel("A"))
    canvas.image.paste(shown)
    for row, text in enumerate(told):
        canvas.text(0, height + 14 * row + 13, _cut(text, width, 11), size=11)
    return canvas.finished()


def kept(picture: Image.Image, overlay: Image.Image) -> Image.Image:
    """The picture where the overlay has something, faded elsewhere."""
    whole = picture.convert("RGB")
    mask = overlay.getchannel("A").point(lambda alpha: 255 * (alpha > 0)).resize(whole.size, Image.Resampling.NEAREST)
    return Image.composite(whole, Image.blend(whole, Image.new("RGB", whole.size, "white"), 0.8), mask)


def titled(text: str, image: Image.Image) -> Image.Image:
    """The image with a line above it."""
    canvas = _Canvas(max(image.width / _PER_UNIT, _font(12).getlength(text) / _SCALE), 18)
    canvas.text(0, 13, text)
    return below(canvas.finished(), image, gap=0)


def beside(*images: Image.Image, gap: float = _GAP) -> Image.Image:
    """The images in a row, tops aligned."""
    step = round(gap * _PER_UNIT)
    whole = Image.new("RGB", (sum(i.width + step for i in images) - step, max(i.height for i in images)), "white")
    x = 0
    for image in images:
        whole.paste(image, (x, 0))
        x += image.width + step
    return whole


def below(*images: Image.Image, gap: float = _GAP) -> Image.Image:
    """The images one under the other, left sides aligned."""
    step = round(gap * _PER_UNIT)
    whole = Image.new("RGB", (max(i.width for i in images), sum(i.height + step for i in images) - step), "white")
    y = 0
    for image in images:
        whole.paste(image, (0, y))
        y += image.height + step
    return whole


def from_tensor(pixels: torch.Tensor) -> Image.Image:
    """A picture of pixels (3, h, w) in [0, 1]."""
    return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def from_uri(uri: str) -> Image.Image:
    """The picture in a data URI, as measurements carry them."""
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def save(image: Image.Image, path: Path) -> None:
    """Write the figure with a margin, in 256 colours: a file of a tenth of a megabyte, which a repository can carry."""
    margin = _GAP * _PER_UNIT
    framed = Image.new("RGB", (image.width + 2 * margin, image.height + 2 * margin), "white")
    framed.paste(image, (margin, margin))
    path.parent.mkdir(parents=True, exist_ok=True)
    framed.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


class _Canvas:
    """A white sheet of so many units; `down` is by how much everything is moved from its top."""

    def __init__(self, width: float, height: float) -> None:
        self.down = 0.0
        self.image = Image.new("RGB", (round(width * _SCALE), round(height * _SCALE)), "white")
        self._pen = ImageDraw.Draw(self.image)

    def line(self, points: _Points, colour: str, *, width: float = 1) -> None:
        self._pen.line(self._placed(points), fill=colour, width=round(width * _SCALE), joint="curve")

    def dashes(self, at: float, start: float, end: float, *, across: bool = False) -> None:
        """A dashed line from start to end at this x, or `across` at this y."""
        place = start
        while place < end:
            ends = [(at, place), (at, min(place + 3, end))]
            self.line([(y, x) for x, y in ends] if across else ends, _INK)
            place += 6

    def area(self, points: _Points, colour: str, *, opacity: float = 1.0) -> None:
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self._placed(points), fill=round(255 * opacity))
        self.image.paste(colour, mask=mask)

    def dot(self, at: tuple[float, float], colour: str, corners: int, *, radius: float = 3.2) -> None:
        ((x, y),) = self._placed([at])
        r = radius * _SCALE
        if corners:
            # As a disc of the same area.
            self._pen.regular_polygon((x, y, 1.25 * r), corners, fill=colour)
        else:
            self._pen.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline="white", width=_SCALE // 2)

    def text(self, x: float, y: float, text: str, anchor: str = "start", *, size: int = 12, colour: str = _INK) -> None:
        """A text with its left, middle or right at a point of its baseline, and white around its letters."""
        (at,) = self._placed([(x, y)])
        self._pen.text(
            at, text, fill=colour, font=_font(size), anchor=_ANCHORS[anchor], stroke_width=_SCALE, stroke_fill="white"
        )

    def finished(self) -> Image.Image:
        return self.image.reduce(_FINER)

    def _placed(self, points: _Points) -> list[tuple[float, float]]:
        return [(x * _SCALE, (y + self.down) * _SCALE) for x, y in points]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow carries, so that every machine draws the same letters."""
    return ImageFont.load_default(size * _SCALE)


def _cut(text: str, width: float, size: int) -> str:
    """As much of the text as fits."""
    kept = text
    while kept and _font(size).getlength(kept if kept == text else f"{kept}...") > width * _SCALE:
        kept = kept[:-1]
    return kept if kept == text else f"{kept}..."


def _points(path: str) -> list[tuple[float, float]]:
    """The points of a path of straight lines: `M1 2L3 4z`."""
    return [_pair(point) for point in path.strip("Mz").split("L")]


def _pair(text: str) -> tuple[float, float]:
    x, y = text.split()
    return float(x), float(y)


def _box(left: float, top: float, right: float, bottom: float) -> _Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]

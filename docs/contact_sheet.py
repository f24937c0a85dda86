"""Every stress that can't see the model, at growing strengths, on one picture: `python docs/contact_sheet.py`.

Writes corruptions.jpg and perturbations.jpg beside this file. The picture is drawn here; `--images FOLDER --out FOLDER`
shows the files of a folder instead, a row each, for a look at photos that may not be published.
"""

import argparse
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pytest_robustness import corruptions, perturbations
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Perturbation

HERE = Path(__file__).parent
OVERLAY = HERE.parent / "fixtures" / "overlays" / "zebra_stripes.png"

# Pictures are made at the size of ImageNet-C and shown smaller.
SIDE, SHOWN, GAP, CAPTION = 224, 144, 2, 17
# Drawn so many times larger, then averaged.
FINE = 4
MOST_BYTES = 600_000


@dataclass(frozen=True)
class Row:
    """A stress at five strengths: of one image, or of five, which shows what chance does."""

    name: str
    stress: Perturbation
    strengths: tuple[float, ...]
    images: int = 1


def corruption_rows() -> list[Row]:
    """The fifteen and the four, at severities 1 to 5."""
    names = corruptions.COMMON + corruptions.EXTRA
    return [Row(name, corruptions.Corruption(name, "imagenet-c"), (1, 2, 3, 4, 5), images=5) for name in names]


def perturbation_rows() -> list[Row]:
    """The perturbations, at five strengths from weak to strong."""
    p = perturbations
    shares = (0.1, 0.2, 0.4, 0.6, 0.8)
    pixels = (1.0, 2.0, 4.0, 8.0, 16.0)
    degrees = (5.0, 15.0, 30.0, 60.0, 90.0)
    stresses: list[tuple[Perturbation, tuple[float, ...]]] = [
        (p.Blend(OVERLAY), (0.1, 0.2, 0.3, 0.45, 0.6)),
        (p.GaussianNoise(), (0.05, 0.1, 0.2, 0.3, 0.5)),
        (p.UniformNoise(), (0.05, 0.1, 0.2, 0.4, 0.6)),
        (p.SpeckleNoise(), (0.1, 0.2, 0.4, 0.6, 1.0)),
        (p.ShotNoise(), (0.01, 0.03, 0.1, 0.2, 0.4)),
        (p.ImpulseNoise(), (0.02, 0.05, 0.1, 0.2, 0.4)),
        (p.GaussianBlur(), (0.5, 1.0, 2.0, 4.0, 8.0)),
        (p.DefocusBlur(), pixels),
        (p.MotionBlur(), (4.0, 8.0, 16.0, 24.0, 32.0)),
        (p.ZoomBlur(), (0.05, 0.1, 0.2, 0.3, 0.5)),
        (p.Brightness(), shares),
        (p.Brightness(toward="black"), shares),
        (p.Contrast(), (0.2, 0.4, 0.6, 0.8, 0.95)),
        (p.Saturation(), (0.2, 0.4, 0.6, 0.8, 1.0)),
        (p.Saturation(toward="vivid"), (0.2, 0.4, 0.6, 0.8, 1.0)),
        (p.Hue(), (15.0, 45.0, 90.0, 135.0, 180.0)),
        (p.JPEG(), (50.0, 75.0, 85.0, 92.0, 98.0)),
        (p.Pixelate(), (0.4, 0.6, 0.75, 0.85, 0.92)),
        (p.Occlusion(), (0.02, 0.05, 0.1, 0.25, 0.5)),
        (p.Rotation(), degrees),
        (p.Shear(), (5.0, 10.0, 20.0, 30.0, 45.0)),
        (p.Translation(), (0.05, 0.1, 0.2, 0.3, 0.5)),
        (p.Scale(), (0.1, 0.25, 0.4, 0.6, 0.8)),
        (p.Scale(toward="larger"), (0.1, 0.25, 0.4, 0.6, 0.8)),
    ]
    return [Row(_call(stress), stress, strengths) for stress, strengths in stresses]


def _call(stress: Perturbation) -> str:
    return f"Blend({OVERLAY.name!r})" if isinstance(stress, perturbations.Blend) else repr(stress)


def sheet(rows: Sequence[Row], pictures: Sequence[Image.Image]) -> Image.Image:
    """A row per stress, the picture itself first; the pictures take turns."""
    step = SHOWN + GAP
    drawn = Image.new("RGB", (6 * step - GAP, len(rows) * (step + CAPTION)), "white")
    draw = ImageDraw.Draw(drawn)
    for number, row in enumerate(rows):
        picture = pictures[number % len(pictures)]
        clean = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        images = (
            clean.reshape(1, picture.height, picture.width, 3)
            .permute(0, 3, 1, 2)
            .float()
            .div(255)
            .expand(6, -1, -1, -1)
        )
        strengths = torch.tensor([0.0, *row.strengths])
        streams = Streams(0, row.name, tuple(str(column % row.images) for column in range(6)))
        stressed = (row.stress(images.contiguous(), strengths, streams).clamp(0, 1) * 255).round().to(torch.uint8)
        top = number * (step + CAPTION)
        for column, (image, strength) in enumerate(zip(stressed, strengths.tolist(), strict=True)):
            shown = Image.frombytes("RGB", picture.size, image.permute(1, 2, 0).contiguous().numpy().tobytes())
            drawn.paste(shown.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS), (column * step, top + CAPTION))
            caption = f"{row.stress.unit} {strength:g}" if column else row.name
            draw.text((column * step + 2, top), caption, "black", _fitting(caption))
    return drawn


def _fitting(caption: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font in which the caption is no wider than a picture."""
    sizes = (ImageFont.load_default(size=size) for size in (13, 12, 11, 10))
    return next((font for font in sizes if font.getlength(caption) < SHOWN - 4), ImageFont.load_default(size=9))


def save(drawn: Image.Image, path: Path) -> None:
    """The sheet as a JPEG of the best quality that stays below the limit."""
    for quality in range(85, 20, -5):
        drawn.save(path, quality=quality, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break


def scene() -> Image.Image:
    """A fox before hills, a wall and a signpost: edges, textures, flat parts, fine print and a face."""
    size = SIDE * FINE
    dice = random.Random(0)
    picture = Image.linear_gradient("L").resize((size, size))
    picture = Image.merge(
        "RGB",
        [picture.point(lambda v, a=a, b=b: a + (b - a) * v // 255) for a, b in ((70, 215), (140, 235), (215, 245))],
    )
    _clouds(picture, dice)
    draw = ImageDraw.Draw(picture)
    _hills(draw, size)
    _wall(draw, dice)
    _grass(draw, size, dice)
    _sign(draw)
    _fox(draw, dice)
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def _clouds(picture: Image.Image, dice: random.Random) -> None:
    mask = Image.new("L", picture.size)
    puffs = ImageDraw.Draw(mask)
    for x, y in ((150, 120), (520, 70), (760, 200)):
        for _ in range(16):
            dx, dy, radius = dice.gauss(0, 55), dice.gauss(0, 14), dice.uniform(18, 42)
            puffs.ellipse((x + dx - radius, y + dy - radius, x + dx + radius, y + dy + radius), fill=220)
    picture.paste((255, 255, 255), mask=mask.filter(ImageFilter.GaussianBlur(10)))
    ImageDraw.Draw(picture).ellipse((690, 40, 780, 130), fill=(255, 224, 110))


def _hills(draw: ImageDraw.ImageDraw, size: int) -> None:
    for height, wave, colour in ((400, 90, (120, 150, 170)), (470, 60, (96, 140, 110)), (560, 30, (80, 128, 62))):
        ridge = [(x, height + wave * math.sin(x / (60 + wave) + height)) for x in range(0, size + 8, 8)]
        draw.polygon([(0, size), *ridge, (size, size)], fill=colour)


def _wall(draw: ImageDraw.ImageDraw, dice: random.Random) -> None:
    draw.rectangle((0, 470, 330, 640), fill=(176, 168, 156))
    for course in range(7):
        for brick in range(-1, 8):
            left, top = brick * 48 + 24 * (course % 2), 474 + 24 * course
            shade = dice.randint(-22, 22)
            right = min(left + 43, 328)
            if right > left:
                draw.rectangle((left, top, right, top + 19), fill=(158 + shade, 82 + shade // 2, 62 + shade // 2))


def _grass(draw: ImageDraw.ImageDraw, size: int, dice: random.Random) -> None:
    for _ in range(2600):
        x, y = dice.uniform(0, size), 620 + (size - 620) * math.sqrt(dice.random())
        length, lean, shade = dice.uniform(14, 46), dice.gauss(0, 9), dice.randint(-40, 40)
        draw.line((x, y, x + lean, y - length), fill=(84 + shade // 2, 140 + shade, 52 + shade // 3), width=4)
    for _ in range(26):
        x, y, radius = dice.uniform(0, size), dice.uniform(690, size), dice.uniform(6, 11)
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=dice.choice([(255, 255, 255), (240, 210, 60), (214, 70, 110)]),
        )


def _sign(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((112, 380, 132, 760), fill=(110, 76, 46))
    draw.polygon(
        [(30, 286), (222, 286), (262, 342), (222, 398), (30, 398)], fill=(236, 222, 186), outline=(90, 60, 34), width=6
    )
    draw.text((46, 288), "FOX LANE", (50, 34, 22), ImageFont.load_default(size=38))
    draw.text((46, 338), "please drive slowly", (50, 34, 22), ImageFont.load_default(size=20))


def _fox(draw: ImageDraw.ImageDraw, dice: random.Random) -> None:
    red, dark, light = (206, 98, 36), (58, 34, 26), (246, 236, 222)
    # The tail, the body and the legs.
    tail = [(640, 770), (760, 790), (850, 700), (862, 590), (806, 520), (776, 600), (744, 684), (640, 700)]
    draw.polygon(tail, fill=red)
    draw.polygon([(862, 590), (806, 520), (786, 575), (826, 612)], fill=light)
    draw.ellipse((450, 470, 700, 800), fill=red)
    draw.polygon([(470, 480), (620, 480), (590, 690), (540, 740), (490, 690)], fill=light)
    for left in (480, 570):
        draw.rounded_rectangle((left, 640, left + 54, 820), 24, fill=red)
        draw.rounded_rectangle((left, 770, left + 54, 824), 20, fill=dark)
    # The head, with ears, cheeks, eyes and whiskers.
    for ear, inner in (
        ([(430, 350), (420, 200), (520, 286)], [(444, 320), (440, 244), (492, 290)]),
        ([(660, 350), (670, 200), (570, 286)], [(646, 320), (650, 244), (598, 290)]),
    ):
        draw.polygon(ear, fill=red)
        draw.polygon(inner, fill=dark)
    draw.polygon(
        [(400, 380), (450, 300), (545, 276), (640, 300), (690, 380), (620, 452), (545, 520), (470, 452)], fill=red
    )
    draw.polygon([(400, 380), (480, 396), (545, 520), (470, 460)], fill=light)
    draw.polygon([(690, 380), (610, 396), (545, 520), (620, 460)], fill=light)
    for eye in (492, 598):
        draw.ellipse((eye - 16, 358, eye + 16, 396), fill=(250, 214, 90))
        draw.ellipse((eye - 7, 360, eye + 7, 394), fill=dark)
    draw.ellipse((522, 486, 568, 526), fill=dark)
    for side in (-1, 1):
        for rise in (-26, 0, 26):
            draw.line((545 + 50 * side, 480, 545 + 170 * side, 470 + rise), fill=(70, 60, 56), width=3)
    # Fur.
    for _ in range(700):
        x, y = dice.uniform(450, 700), dice.uniform(470, 800)
        if ((x - 575) / 120) ** 2 + ((y - 635) / 160) ** 2 < 1 and not (470 < x < 620 and y < 740):
            shade = dice.randint(-34, 26)
            draw.line((x, y, x + dice.gauss(0, 4), y + 16), fill=(206 + shade, 98 + shade, 36 + shade // 2), width=3)


def photos(folder: Path) -> list[Image.Image]:
    """The middle of every picture of a folder, at the size of the scene."""
    found = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            cut = image.convert("RGB").crop((left, top, left + side, top + side))
            found.append(cut.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return found


def main(arguments: Sequence[str]) -> int:
    """Write both sheets; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of pictures to show instead of the scene")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="where the sheets go (default: docs)")
    options = parser.parse_args(arguments)
    pictures = photos(options.images) if options.images else [scene()]
    for name, rows in (("corruptions", corruption_rows()), ("perturbations", perturbation_rows())):
        path = options.out / f"{name}.jpg"
        save(sheet(rows, pictures), path)
        print(f"{path}: {len(rows)} rows, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

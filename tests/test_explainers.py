"""One explainer about the model of an engine: which it is, where its superpixels come from, and the pictures made of it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import (
    Anchors,
    AttentionRollout,
    Engine,
    GradCAM,
    Grid,
    ImageSet,
    LabelledImage,
    Lime,
    SmoothingVote,
)
from pytest_robustness.explainers import Explainers, pointed_at, speaks, top_fifth
from pytest_robustness.explanations import AnchorExplanation, Explainer, Explanation, Heat, LimeExplanation
from pytest_robustness.types import Batch
from tests.attack_models import Model, accepted, convnet, noise_images
from tests.explanation_models import Colours, Learning, patchwork, state

LIME = Lime(segments=Grid(4, 4), fill=0.0, samples=60)


@dataclass(frozen=True)
class Counting:
    """Stripes of an image's rows, more of them the brighter it is; every image that is cut is remembered."""

    cut: list[torch.Tensor] = field(default_factory=list, repr=False, compare=False)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.cut.extend(images)
        return torch.stack([Grid(2 + round(4 * float(image.mean())), 2)(image[None])[0] for image in images])


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """One image of 16 x 16 pixels and three classes: what is explained here is mostly not of the set."""
    pixels = (noise_images(1, 16)[0] * 255).round().to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    return ImageSet([LabelledImage("a.png", tmp_path / "a.png", (0,))], ["red", "green", "blue"], name="images")


def explainers(model: Model, images: ImageSet, by: Explainer | None = None) -> Explainers:
    return Explainers(Engine(model, images, device="cpu"), by)


def batch(images: torch.Tensor, labels: Sequence[int] | None = None, k: int = 3) -> Batch:
    ids = tuple(f"{row}.png" for row in range(len(images)))
    return Batch(images, accepted(list(labels or [0] * len(images)), k), ids)


def heats(found: Sequence[Explanation]) -> torch.Tensor:
    return torch.stack([own.heat.heat for own in found])


def cut_of(found: Explanation) -> torch.Tensor:
    """The superpixels that it is by."""
    assert isinstance(found, LimeExplanation | AnchorExplanation)
    return found.segments


def levels(png: str) -> torch.Tensor:
    """(h, w, c) the bytes of a PNG in a data URI."""
    head, _, data = png.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return flat.reshape(image.height, image.width, -1)


class Three(nn.Module):
    """`Colours`, red and green, with a third class that is never said and rests on nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = Colours()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.colours(images), torch.full((len(images), 1), -1.0)], 1)


def coloured(channel: int, row: int, column: int) -> torch.Tensor:
    """(3, 16, 16) a square of 4 pixels of one colour on black, in a grid of such squares."""
    image = torch.zeros(3, 16, 16)
    image[channel, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    return image


def test_the_top_fifth_are_the_twenty_highest_of_a_hundred_places() -> None:
    heat = torch.arange(100.0).reshape(10, 10) + 1
    assert top_fifth(heat).nonzero().flatten().tolist() == list(range(80, 100))
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    shuffled = torch.zeros(100)
    shuffled[order] = heat.flatten()
    assert top_fifth(shuffled.reshape(10, 10)).nonzero().flatten().tolist() == sorted(order[80:].tolist())


@pytest.mark.parametrize(
    ("shape", "expected"), [((10, 10), 20), ((3, 3), 1), ((2, 2), 1), ((7, 2), 2), ((32, 32), 204)]
)
def test_a_fifth_is_rounded_down_and_at_least_one_place(shape: tuple[int, int], expected: int) -> None:
    heat = torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.1
    found = top_fifth(heat)
    assert (found.shape, int(found.sum())) == ((heat.numel(),), expected)
    assert found.dtype == torch.bool
    assert heat.flatten()[found].min() > heat.flatten()[~found].max()


def test_places_as_high_as_the_last_of_the_fifth_belong_to_it() -> None:
    heat = torch.zeros(10, 10)
    heat[:3] = 0.5
    assert top_fifth(heat).nonzero().flatten().tolist() == list(range(30))
    heat[0] = 0.7
    assert int(top_fifth(heat).sum()) == 30
    heat[1] = 0.6
    assert top_fifth(heat).nonzero().flatten().tolist() == list(range(20))
    assert top_fifth(torch.ones(10, 10)).all()


def test_places_that_say_nothing_or_speak_against_the_class_are_no_part_of_it() -> None:
    heat = torch.full((10, 10), -1.0)
    assert not top_fifth(heat).any()
    heat[4, 4:] = 0.0
    assert not top_fifth(heat).any()
    heat[4, 7] = 1e-6
    assert top_fifth(heat).nonzero().tolist() == [[47]]


def test_larger_heats_are_averaged_on_a_grid_of_32_places_a_side() -> None:
    heat = torch.zeros(64, 96)
    heat[10:12, 30:33] = torch.tensor([[6.0, 0, 0], [0, 0, 0]])
    (place,) = top_fifth(heat).nonzero().flatten().tolist()
    assert divmod(place, 32) == (5, 10)
    # What speaks against the class as loudly nearby outweighs it.
    heat[11, 31] = -6.0
    assert not top_fifth(heat).any()
    assert top_fifth(torch.rand(8, 100)).shape == (8 * 32,)


def test_the_grid_can_be_coarser() -> None:
    heat = torch.zeros(8, 8)
    heat[0, 0], heat[5, 6] = 1.0, 2.0
    assert top_fifth(heat, side=2).nonzero().flatten().tolist() == [3]
    assert top_fifth(heat, side=8).nonzero().flatten().tolist() == [0, 46]
    assert top_fifth(heat, side=100).shape == (64,)


def test_the_top_fifth_depends_on_the_order_alone() -> None:
    heat = torch.randn(20, 20, generator=torch.Generator().manual_seed(2))
    for other in (heat * 1e-4, heat * 1e3, heat.double()):
        assert torch.equal(top_fifth(other), top_fifth(heat))


def test_a_heat_points_at_its_highest_pixel() -> None:
    heat = torch.zeros(5, 9)
    heat[1, 7] = -3.0
    heat[3, 2] = 0.1
    assert pointed_at(heat) == (2, 3)
    assert pointed_at(heat - 5) == (2, 3)


def test_of_a_plateau_it_points_at_the_pixel_nearest_to_the_middle() -> None:
    heat = torch.zeros(9, 9)
    heat[2:5, 4:9] = 1.0
    assert pointed_at(heat) == (6, 3)
    # The middle of a ring is none of it.
    heat[3, 6] = 0.5
    assert pointed_at(heat) in {(5, 3), (7, 3), (6, 2), (6, 4)}
    corner = torch.zeros(9, 9)
    corner[:, 0] = corner[8] = 2.0
    assert heat.max() < corner[pointed_at(corner)[1], pointed_at(corner)[0]]
    assert pointed_at(torch.zeros(5, 5)) == (2, 2)


@pytest.mark.parametrize(
    ("value", "believable", "expected"),
    [(0.1, True, True), (0.1, False, False), (0.0, True, False), (-1.0, True, False)],
)
def test_a_heat_speaks_where_it_may_be_believed_and_something_is_above_0(
    value: float, believable: bool, expected: bool
) -> None:
    heat = torch.full((3, 3), -1.0)
    heat[1, 1] = value
    assert speaks(Heat(heat, "GradCAM()", "", believable)) is expected


def vision_transformer() -> nn.Module:
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = torchvision.models.VisionTransformer(
            image_size=16, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3
        )
        return model.eval()


def flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)).eval()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Three, GradCAM()),
        (vision_transformer, AttentionRollout()),
        (flat, Lime()),
        (lambda: lambda images: images.mean((2, 3)), Lime()),
    ],
    ids=["convolutions", "vision transformer", "no maps", "a function"],
)
def test_without_an_explainer_it_is_the_first_that_the_model_allows(
    images: ImageSet, model: "type[nn.Module]", expected: Explainer
) -> None:
    own = explainers(model(), images)
    assert own.method == expected
    assert own.method is own.method
    shown = batch(patchwork(2, 16))
    (found, _) = own.of(shown, shown.images, [0, 1])
    assert found.heat.method == repr(expected)
    assert found.heat.heat.shape == (16, 16)


def test_an_explainer_that_is_given_is_the_one(images: ImageSet) -> None:
    assert explainers(Three(), images, LIME).method is LIME
    assert explainers(flat(), images, GradCAM()).method == GradCAM()


def test_where_no_image_can_be_read_there_is_nothing_to_try_an_explainer_on(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    broken = ImageSet([LabelledImage("a.png", tmp_path / "a.png", (0,))], ["a", "b"], name="broken")
    assert explainers(Colours(), broken).method == Lime()


def test_the_explanation_is_that_of_the_class_that_is_asked_for(images: ImageSet) -> None:
    both = coloured(0, 1, 1) + coloured(1, 2, 2)
    shown = batch(torch.stack([both, both]))
    red, green = explainers(Three(), images).of(shown, shown.images, [0, 1])
    assert [pointed_at(own.heat.heat) for own in (red, green)] == [(5, 5), (9, 9)]


@pytest.mark.parametrize("kind", [Lime, Anchors])
def test_superpixels_are_cut_once_of_the_clean_image(images: ImageSet, kind: type[Lime | Anchors]) -> None:
    counting = Counting()
    own = explainers(Learning().eval(), images, kind(segments=counting))
    clean = batch(torch.stack([torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.7)]))
    first, second = own.of(clean, clean.images, [0, 1]), own.of(clean, (clean.images + 0.25).clamp(0, 1), [1, 1])
    assert len(counting.cut) == 2
    assert all(torch.equal(cut, image) for cut, image in zip(counting.cut, clean.images, strict=True))
    of_clean = [Grid(3, 2)(clean.images[:1])[0], Grid(5, 2)(clean.images[:1])[0]]
    for found in (first, second):
        assert all(torch.equal(cut_of(mine), cut) for mine, cut in zip(found, of_clean, strict=True))
    # In another order, with several rows of one image, and with an image that is new.
    rows = clean.select([1, 0, 1])
    assert [int(cut_of(mine).max()) for mine in own.of(rows, rows.images, [1, 1, 1])] == [9, 5, 9]
    assert len(counting.cut) == 2
    new = Batch(clean.images[:1].repeat(2, 1, 1, 1), accepted([0, 0], 3), ("new.png", "new.png"))
    own.of(new, new.images, [0, 0])
    assert len(counting.cut) == 3


def test_superpixels_are_those_of_the_engine_and_of_their_segmenter(images: ImageSet) -> None:
    counting, shown = Counting(), batch(patchwork(2, 16))
    engine = Engine(Learning().eval(), images, device="cpu")
    for by in (Lime(segments=counting), Lime(segments=counting, samples=40), Anchors(segments=counting)):
        for own in (engine, engine.behind(SmoothingVote(kernel=3))):
            Explainers(own, by).of(shown, shown.images, [0, 1])
    assert len(counting.cut) == 2
    (found, _) = Explainers(engine, Lime(segments=Grid(2, 2))).of(shown, shown.images, [0, 1])
    assert int(cut_of(found).max()) == 3


def test_the_same_image_is_explained_by_the_same_samples_on_both_sides(images: ImageSet) -> None:
    own = explainers(Three(), images, LIME)
    clean = batch(patchwork(3, 16))
    first, second = own.of(clean, clean.images, [0, 1, 0]), own.of(clean, clean.images.clone(), [0, 1, 0])
    assert torch.equal(heats(first), heats(second))


@pytest.mark.parametrize("by", [GradCAM(), LIME], ids=repr)
def test_behind_a_defense_the_model_alone_is_explained(images: ImageSet, by: Explainer) -> None:
    engine, shown = Engine(convnet(), images, device="cpu"), batch(patchwork(2, 6))
    alone, behind = Explainers(engine, by), Explainers(engine.behind(SmoothingVote(kernel=3)), by)
    assert torch.equal(heats(alone.of(shown, shown.images, [0, 2])), heats(behind.of(shown, shown.images, [0, 2])))


@pytest.mark.parametrize("by", [None, LIME, Anchors(segments=Grid(3, 3))], ids=repr)
def test_the_model_is_left_as_it_was_found(images: ImageSet, by: Explainer | None) -> None:
    model = Learning()
    before, shown = state(model), batch(patchwork(1, 16))
    own = explainers(model, images, by)
    own.of(shown, shown.images, [1])
    own.panels(shown, shown.images * 0.5)
    assert state(model) == before


def test_panels_explain_the_right_class_on_the_clean_and_the_wrong_one_on_the_stressed_image(
    images: ImageSet,
) -> None:
    clean, stressed = batch(coloured(0, 1, 2)[None]), coloured(1, 2, 1)[None]
    own = explainers(Three(), images)
    difference, right, wrong = own.panels(clean, stressed)
    assert [panel.caption for panel in (difference, right, wrong)] == [
        "difference x 1, grey is none",
        "red on the clean image",
        "green on the stressed image",
    ]
    assert (difference.note, difference.overlay) == ("", "")
    assert [panel.note for panel in (right, wrong)] == ["4 x 4 values of colours.stage"] * 2
    for panel, image, (x, y) in ((right, clean.images, (9, 5)), (wrong, stressed, (5, 9))):
        assert torch.equal(levels(panel.png), (image[0] * 255).byte().permute(1, 2, 0))
        opacity = levels(panel.overlay)[..., 3].float()
        assert opacity[y, x] == opacity.max() > 0


@pytest.mark.parametrize(
    ("labels", "clean", "stressed", "expected"),
    [
        ([0], 0, 0, ["red", "red"]),
        ([0], 0, 1, ["red", "green"]),
        # Where the model is wrong already, the right class is explained on the clean image all the same.
        ([1], 0, 0, ["green", "red"]),
        # Of several accepted classes it is the strongest.
        ([1, 2], 0, 1, ["green", "green"]),
        ([0, 1], 1, 0, ["green", "red"]),
        ([0, 1, 2], 0, 1, ["red", "green"]),
    ],
)
def test_the_accepted_class_is_explained_on_the_clean_image_and_the_answer_on_the_stressed_one(
    images: ImageSet, labels: list[int], clean: int, stressed: int, expected: list[str]
) -> None:
    shown = Batch(coloured(clean, 1, 2)[None], accepted(labels, 3).any(0, keepdim=True), ("0.png",))
    _, *panels = explainers(Three(), images).panels(shown, coloured(stressed, 2, 1)[None])
    right, answered = expected
    assert [panel.caption for panel in panels] == [f"{right} on the clean image", f"{answered} on the stressed image"]


def test_a_panel_without_a_heat_to_believe_has_no_overlay_and_says_why(images: ImageSet) -> None:
    clean = batch(coloured(0, 1, 2)[None], [1])
    _, right, _ = explainers(Three(), images).panels(clean, clean.images)
    assert (right.caption, right.overlay) == ("green on the clean image", "")
    assert right.note == "nothing in colours.stage speaks for the class; not to be believed"


@pytest.mark.parametrize(
    ("delta", "factor"), [(0.002, 200), (0.04, 10), (-0.04, 10), (0.2, 2), (0.3, 1), (0.5, 1), (0.8, 1)]
)
def test_the_difference_is_shown_as_much_as_there_is_room_for_and_grey_where_nothing_changed(
    images: ImageSet, delta: float, factor: int
) -> None:
    clean = batch(torch.full((1, 3, 16, 16), 0.9 if delta < 0 else 0.1))
    stressed = clean.images.clone()
    stressed[0, 1, 3, 5] += delta
    difference, *_ = explainers(Three(), images).panels(clean, stressed)
    assert difference.caption == f"difference x {factor}, grey is none"
    shown = levels(difference.png)
    expected = round(255 * min(1.0, max(0.0, 0.5 + factor * delta)))
    assert abs(int(shown[3, 5, 1]) - expected) <= 1
    shown[3, 5, 1] = 128
    assert (shown == 128).all()


def test_of_images_that_are_the_same_the_difference_is_grey(images: ImageSet) -> None:
    clean = batch(patchwork(1, 16))
    difference, *_ = explainers(Three(), images).panels(clean, clean.images)
    assert difference.caption == "difference x 500, grey is none"
    assert (levels(difference.png) == 128).all()


@pytest.mark.parametrize(("shape", "expected"), [((16, 224), (8, 112)), ((112, 16), (112, 16)), ((448, 8), (112, 2))])
def test_pictures_of_panels_have_at_most_112_pixels_a_side(
    images: ImageSet, shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    """A smaller picture has the mean of the larger one."""
    clean = batch(torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)))
    panels = explainers(Three(), images, Lime(segments=Grid(2, 2), samples=20)).panels(clean, clean.images * 0.5)
    for panel in panels:
        assert levels(panel.png).shape == (*expected, 3)
    assert float(levels(panels[1].png).float().mean() / 255) == pytest.approx(float(clean.images.mean()), abs=0.01)

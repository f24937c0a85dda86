"""Why the model answers as it does: of images and of stressed ones, as a measurement and as gates."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import (
    FGSM,
    PGD,
    Anchors,
    Engine,
    GateFailed,
    GaussianNoise,
    GradCAM,
    Grid,
    InputError,
    Lime,
    Robustness,
    SmoothingVote,
    image_folder,
    image_manifest,
    labelled_images,
)
from pytest_robustness.explainers import Explainers, top_fifth
from pytest_robustness.explaining import Region
from pytest_robustness.explanation_gates import Overlap
from pytest_robustness.explanations import Explainer, Heat, PlainExplanation
from pytest_robustness.results import Results
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Images, Strengths, constructor_call
from pytest_robustness.views import Album
from tests.explanation_models import patchwork, state
from tests.test_folding import seeded

# Of 16 x 16 pixels in squares of 4, the one that is looked at: its number in a grid of them, and as a box.
LOOKED_AT, BOX = 6, (8, 4, 12, 8)


def save(path: Path, pixels: torch.Tensor) -> None:
    """Pixels (3, h, w) in [0, 1] as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(path)


def said(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def failed(call: Callable[[], object]) -> GateFailed:
    with pytest.raises(GateFailed) as error:
        call()
    return error.value


class Window(nn.Module):
    """Class "on" rests on how bright one square is, "off" on how dark, both beyond 1/2, and "never" is never said."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.through = nn.Conv2d(3, 2, 4, stride=4), nn.ReLU()
        left, top, right, bottom = BOX
        self.window = torch.zeros(4, 4)
        self.window[top // 4 : bottom // 4, left // 4 : right // 4] = 1
        with torch.no_grad():
            self.stage.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4) / 48)
            self.stage.bias.copy_(torch.tensor([-0.5, 0.5]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.through(self.stage(images) * self.window)
        return torch.cat([8 * maps.sum((2, 3)), torch.full((len(images), 1), -30.0)], 1)


def framed(number: int, level: float) -> torch.Tensor:
    """(3, 16, 16) noise, with the square at one level of grey."""
    image = 0.2 + 0.6 * torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(number))
    left, top, right, bottom = BOX
    image[:, top:bottom, left:right] = level
    return image


@pytest.fixture
def looking(tmp_path: Path) -> Robustness:
    """Three images with the square bright, two with the square dark."""
    for number in range(5):
        label, level = ("on", 0.9) if number < 3 else ("off", 0.1)
        save(tmp_path / "windows" / label / f"{number}.png", framed(number, level))
    images = image_folder(tmp_path / "windows", classes=["on", "off", "never"])
    return Robustness(Engine(Window(), images, device="cpu"))


@dataclass(frozen=True, repr=False)
class Redness:
    """What is red speaks for every class, and what is blue against it; of images without red nothing is to be believed."""

    note: str = "red"

    watches_layers: ClassVar[bool] = False
    segmenter: ClassVar[None] = None
    __repr__ = constructor_call

    def explain(
        self,
        classifier: Classifier,
        images: Images,
        classes: torch.Tensor,
        streams: Streams,
        *,
        segments: torch.Tensor | None = None,
    ) -> Sequence[PlainExplanation]:
        believable = [bool(image[0].any()) for image in images]
        pairs = zip(images, believable, strict=True)
        return [PlainExplanation(Heat(image[0] - image[2], repr(self), self.note, own)) for image, own in pairs]


@dataclass(frozen=True, repr=False)
class Down:
    """Images are moved down by so many rows, around the edge: no pixel is lost."""

    unit: ClassVar[str] = "rows"
    limit: ClassVar[float] = 9.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        moved = [image.roll(round(own), 1) for image, own in zip(images, strengths.tolist(), strict=True)]
        return torch.stack(moved)


@dataclass(frozen=True, repr=False)
class Dim:
    """All pixels are this share darker."""

    unit: ClassVar[str] = "share"
    limit: ClassVar[float] = 1.0
    __repr__ = constructor_call

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        return images * (1 - strengths.reshape(-1, 1, 1, 1))


def bright(images: torch.Tensor) -> torch.Tensor:
    """Class "lit" is ahead of "dark" above a mean of 0.04; two of ten rows in red have 1 / 15."""
    return torch.stack([torch.zeros(len(images)), 100 * (images.mean((1, 2, 3)) - 0.04)], 1)


def rows(*numbers: int, red: float = 1.0, green: float = 0.0) -> torch.Tensor:
    """(3, 10, 10) pixels with colour in these rows alone."""
    image = torch.zeros(3, 10, 10)
    image[0, list(numbers)], image[1, list(numbers)] = red, green
    return image


def lit(folder: Path, **images: torch.Tensor) -> Robustness:
    """The model of brightness over these images, all of the class "lit"."""
    for name, pixels in images.items():
        save(folder / "lit" / f"{name}.png", pixels)
    return Robustness(Engine(bright, image_folder(folder, classes=["dark", "lit"]), device="cpu"))


@pytest.fixture
def red(tmp_path: Path) -> Robustness:
    """Three images with two red rows each: a and b have one of them in common."""
    return lit(tmp_path, a=rows(0, 1), b=rows(1, 2), c=rows(8, 9))


def test_a_clean_image_alone_is_explained_for_its_answer(red: Robustness) -> None:
    found = red.explain("lit/c.png", by=Redness())
    (side,) = found.sides
    # The mean of the image is 20 of 300 values.
    share = torch.tensor(100 * (1 / 15 - 0.04)).sigmoid().item()
    assert (side.caption, side.label, side.probability) == ("clean", "lit", pytest.approx(share, abs=1e-6))
    assert (side.note, side.believable, side.parts) == ("red", True, ())
    assert (found.case, found.overlap, found.lost, found.gained) == ("", None, (), ())
    # The middle of two rows is between them, and the first pixel beside it counts.
    assert side.top_at == (4, 8)
    assert str(found) == "lit/c.png, by Redness()\nclean: lit 0.94, most at (4, 8)\n  red"
    assert red.measurements == [found]


def test_an_image_is_explained_beside_its_stressed_version(red: Robustness) -> None:
    found = red.explain(red.engine.images["lit/a.png"], Down(), 1, by=Redness())
    assert found.overlap == 1 / 3
    assert str(found) == (
        "lit/a.png under Down() at rows 1, by Redness()\n"
        "clean: lit 0.94, most at (4, 0)\n"
        "  red\n"
        "rows 1: lit 0.94, most at (4, 1)\n"
        "  red\n"
        "common to the top fifth of both: 0.33 (intersection over union)"
    )
    assert [red.explain("lit/a.png", Down(), by, by=Redness()).overlap for by in (0, 2)] == [1.0, 0.0]


def test_each_side_has_the_picture_of_what_was_explained(red: Robustness) -> None:
    found = red.explain("lit/a.png", Down(), 3, by=Redness("r"))
    first, second = (side.picture for side in found.sides)
    assert first is not None
    assert second is not None
    assert (first.caption, second.caption) == ("lit, clean", "lit, rows 3")
    assert (first.note, second.note) == ("r", "r")
    assert len({first.png, second.png, first.overlay, second.overlay}) == 4
    moved = red.explain("lit/a.png", Down(), 3, by=Redness("r")).sides[1].picture
    assert moved == second
    silent = red.explain("lit/a.png", Dim(), 1, by=Redness()).sides[1]
    assert silent.picture is not None
    assert (silent.label, silent.believable, silent.top_at, silent.picture.overlay) == ("dark", False, None, "")


@dataclass(frozen=True)
class Counting:
    """A grid of four by four; every batch that is cut is remembered."""

    batches: list[torch.Tensor] = field(default_factory=list, repr=False, compare=False)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(images)
        return Grid(4, 4)(images)


LIME, ANCHORS = Lime(segments=Grid(4, 4), fill=0.0), Anchors(segments=Grid(4, 4), fill=0.0)


@pytest.mark.parametrize("by", [None, GradCAM(), GradCAM(layer="through")], ids=repr)
def test_grad_cam_finds_the_square_that_the_model_looks_at(looking: Robustness, by: Explainer | None) -> None:
    found = looking.explain("on/1.png", Dim(), 0.1, by=by)
    assert found.method == repr(by or GradCAM())
    assert [(side.label, side.top_at, side.parts) for side in found.sides] == [("on", (9, 5), ())] * 2
    assert [side.note for side in found.sides] == ["4 x 4 values of through"] * 2
    # 8 * (0.9 - 0.5), and a tenth of the brightness less.
    shares = [torch.tensor(8 * (level - 0.5)).sigmoid().item() for level in (230 / 255, 0.9 * 230 / 255)]
    assert [side.probability for side in found.sides] == pytest.approx(shares, abs=1e-5)
    assert found.overlap == 1.0


@pytest.mark.parametrize("by", [LIME, ANCHORS], ids=["lime", "anchors"])
def test_superpixels_of_both_sides_are_the_same_ones(looking: Robustness, by: Explainer) -> None:
    found = looking.explain("on/1.png", Dim(), 0.1, by=by)
    for side in found.sides:
        assert (side.label, side.believable, side.parts[0]) == ("on", True, LOOKED_AT)
        # Of a square without a pixel in its middle, the first of the four around it.
        assert side.top_at == (9, 5)
    assert found.overlap == 1.0


def test_anchors_lost_and_gained_are_told(looking: Robustness) -> None:
    """Where all but black is lost, the answer is "off" whatever is hidden, as what is hidden is black."""
    first, second = looking.explain("on/0.png", Dim(), 0.9, by=ANCHORS).sides
    assert (first.label, first.parts) == ("on", (LOOKED_AT,))
    assert (second.label, second.parts) == ("off", ())
    told = str(looking.measurements[0]).splitlines()
    assert told[1] == "clean: on 0.96, on superpixels 6"
    assert "lost: superpixels 6; gained: none" in told


def test_superpixels_are_cut_once_of_an_image_and_shared_by_all_that_is_asked_of_it(looking: Robustness) -> None:
    counting = Counting()
    by = Lime(segments=counting, fill=0.0, samples=40)
    looking.explain("on/0.png", Dim(), 0.1, by=by)
    assert [len(batch) for batch in counting.batches] == [1]
    (clean,) = looking.engine.images.batch(["on/0.png"]).images
    assert torch.equal(counting.batches[0][0], clean)
    looking.explanation_stability(Dim(), 0.1, by=by, images=["on/0.png", "on/1.png"])
    looking.attention({"on/0.png": BOX}, Dim(), 0.1, by=by)
    looking.behind(SmoothingVote(kernel=3)).explain("on/1.png", by=by)
    assert [len(batch) for batch in counting.batches] == [1, 1]


@pytest.mark.parametrize(
    ("target", "epsilon", "label"), [("off", 0.5, "off"), ("off", 0.1, "on"), ("never", 0.2, "on"), (None, 0.5, "off")]
)
def test_an_attack_goes_for_the_target_and_what_the_model_says_to_it_is_explained(
    looking: Robustness, target: str | None, epsilon: float, label: str
) -> None:
    found = looking.explain("on/2.png", PGD(), epsilon, target=target)
    assert [side.label for side in found.sides] == ["on", label]
    assert [side.top_at for side in found.sides] == [(9, 5)] * 2
    towards = f" towards {target}" if target else ""
    at = {0.5: "0.5", 0.1: "25.5/255", 0.2: "51/255"}[epsilon]
    assert found.case == f"PGD() at epsilon {at}{towards}"
    assert str(found).splitlines()[0] == f"on/2.png under PGD() at epsilon {at}{towards}, by GradCAM()"
    assert found.sides[1].caption == f"epsilon {at}"


def test_an_attack_towards_a_target_is_that_of_every_other_question(looking: Robustness) -> None:
    outcome = looking.engine.targeted([("on/2.png", 1)], PGD(), 0.5)[0]
    side = looking.explain("on/2.png", PGD(), 0.5, target="off").sides[1]
    assert (side.label, side.probability) == (outcome.predicted, pytest.approx(outcome.confidence, abs=1e-6))
    noisy = looking.explain("on/2.png", GaussianNoise(), 0.1).sides[1]
    (outcome,) = looking.engine.evaluate(["on/2.png"], GaussianNoise(), 0.1).outcomes
    assert (noisy.label, noisy.probability) == (outcome.predicted, pytest.approx(outcome.confidence, abs=1e-6))


def test_the_clean_side_is_the_same_alone_and_beside_every_stress(looking: Robustness) -> None:
    alone = looking.explain("on/0.png", by=LIME).sides[0]
    for stress, strength in ((Dim(), 0.3), (PGD(steps=3), 0.1), (GaussianNoise(), 0.05)):
        assert looking.explain("on/0.png", stress, strength, by=LIME).sides[0] == alone
    # At strength 0 there is nothing between both.
    both = looking.explain("on/0.png", GaussianNoise(), 0.0, by=LIME)
    assert dataclasses.replace(both.sides[1], caption="clean", picture=alone.picture) == alone
    assert (both.overlap, both.lost, both.gained) == (1.0, (), ())


def test_behind_a_defense_the_model_alone_is_explained(looking: Robustness) -> None:
    behind = looking.behind(SmoothingVote(kernel=3))
    found, alone = (own.explain("on/0.png", GaussianNoise(), 0.1) for own in (behind, looking))
    assert found.sides == alone.sides
    assert found.case == "GaussianNoise() at sigma 0.1"
    assert looking.measurements == [found, alone]


def test_explanations_come_back_from_a_report_with_their_pictures(looking: Robustness) -> None:
    looking.assert_attends_to({"on/0.png": BOX})
    found = looking.explain("on/0.png", PGD(), 0.5, by=LIME)
    verdict = dataclasses.replace(looking.verdicts[0], explained=(found,))
    assert Results.from_json(Results((verdict,)).to_json()).verdicts == (verdict,)


def test_pictures_are_made_as_long_as_there_is_room_for_them(red: Robustness) -> None:
    asked = ["lit/a.png", "lit/a.png", "lit/b.png", "lit/c.png"]
    for album, expected in (
        (Album(limit=3), [True, True, True, False]),
        (Album(per_claim=1), [True, False, True, True]),
        (None, [True] * 4),
    ):
        limited = Robustness(red.engine, album=album)
        found = [limited.explain(image, by=Redness()) for image in asked]
        assert [own.sides[0].picture is not None for own in found] == expected
        assert found[3].without_pictures() == red.explain("lit/c.png", by=Redness()).without_pictures()


def test_the_stability_of_three_images_is_that_by_hand(red: Robustness) -> None:
    """Of rows 0, 1 and 1, 2 and 8, 9: those of a and b share one of three, and each of them shares one with itself moved."""
    found = red.explanation_stability(Down(), 1, by=Redness())
    third, sixth = round(1 / 3, 6), round(1 / 6, 6)
    assert found.overlaps == (
        Overlap("lit/a.png", third, sixth),
        Overlap("lit/b.png", third, sixth),
        Overlap("lit/c.png", third, 0.0),
    )
    assert [own.corrected for own in found.overlaps] == pytest.approx([0.2, 0.2, 1 / 3], abs=1e-5)
    assert (float(found), found.common, found.null) == pytest.approx((11 / 45, 1 / 3, 1 / 9), abs=1e-5)
    assert repr(found) == (
        "explanations by Redness() under Down() at rows 1: stability 0.244 (overlap 0.333, that of other images 0.111), 3 images"
    )
    assert str(found) == (
        "lit/a.png: 0.200 (overlap 0.333, null 0.167)\n"
        "lit/b.png: 0.200 (overlap 0.333, null 0.167)\n"
        "lit/c.png: 0.333 (overlap 0.333, null 0.000)\n" + repr(found)
    )
    assert red.measurements == [found]


def test_two_images_that_are_alike_have_nothing_to_tell_apart(red: Robustness) -> None:
    """One that points where the other does is as stable as any map of this model: 0, whatever the overlap."""
    found = red.explanation_stability(Down(), 0, by=Redness(), images=["lit/a.png", "lit/c.png"])
    assert (float(found), found.null) == (1.0, 0.0)
    moved = red.explanation_stability(Down(), 2, by=Redness(), images=["lit/a.png", "lit/b.png"])
    assert float(moved) == pytest.approx((0 - 1 / 3) / (1 - 1 / 3), abs=1e-5)


class Normed(nn.Module):
    """Three classes by two convolutions, each with a batch norm; what they answer with has both signs."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)]
        self.stage, self.head = nn.Sequential(*layers, nn.Tanh()), nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stage(images).mean((2, 3)))
        return logits


@pytest.fixture
def learned(tmp_path: Path) -> Robustness:
    """A network with batch norms in the middle of training, right about twelve images of soft patches."""
    model, pixels = seeded(Normed), (patchwork(12, 16) * 255).round() / 255
    with torch.no_grad():
        # By how far each class is above its own mean, so that all of them are given to some.
        model.head.bias -= model(pixels).mean(0)  # type: ignore[union-attr, operator]
        labels = model(pixels).argmax(1)
    assert len(set(labels.tolist())) == 3
    for number, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
        save(tmp_path / str(label) / f"{number:02}.png", image)
    images = image_folder(tmp_path, classes=["0", "1", "2"])
    return Robustness(Engine(model.train(), images, device="cpu"))


@pytest.mark.parametrize("by", [None, Lime(segments=Grid(4, 4), samples=60, least_r2=0.0)], ids=["grad-cam", "lime"])
def test_under_next_to_nothing_every_explanation_stays_where_it_was(learned: Robustness, by: Explainer | None) -> None:
    same = learned.explanation_stability(GaussianNoise(), 0, by=by)
    assert [own.common for own in same.overlaps] == [1.0] * len(same.overlaps)
    assert float(same) == 1.0
    assert 0 < same.null < 1
    # Rounding may part places that were as high as each other.
    found = learned.explanation_stability(GaussianNoise(), 1e-7, by=by)
    assert min(own.common for own in found.overlaps) > 0.95
    noisy = learned.explanation_stability(GaussianNoise(), 0.1, by=by)
    assert 0 < float(noisy) < float(found)


def test_the_null_is_the_mean_overlap_with_the_clean_explanations_of_the_others(learned: Robustness) -> None:
    engine = learned.engine
    found = learned.explanation_stability(GaussianNoise(), 0.02)
    ids = [own.image for own in found.overlaps]
    batch = engine.images.batch(ids)
    labels = engine.logits(batch).argmax(1).tolist()
    tops = [
        set(top_fifth(own.heat.heat).nonzero().flatten().tolist())
        for own in Explainers(engine).of(batch, batch.images, labels)
    ]
    for own, top in zip(found.overlaps, tops, strict=True):
        others = [len(top & other) / len(top | other) for other in tops if other is not top]
        assert own.null == pytest.approx(sum(others) / len(others), abs=1e-6)
    ((_, stressed),) = engine.shown([(image, 0.02) for image in ids], GaussianNoise())
    after = Explainers(engine).of(batch, stressed.images, labels)
    for own, top, then in zip(found.overlaps, tops, after, strict=True):
        moved = set(top_fifth(then.heat.heat).nonzero().flatten().tolist())
        assert own.common == pytest.approx(len(top & moved) / len(top | moved), abs=1e-6)


def test_an_image_is_as_stable_in_every_batch_and_in_every_order(learned: Robustness) -> None:
    engine = learned.engine
    ids = [image.id for image in engine.images.images]
    together = learned.explanation_stability(GaussianNoise(), 0.05)
    single = Robustness(Engine(engine.model, engine.images, device="cpu", batch_size=5))
    apart = single.explanation_stability(GaussianNoise(), 0.05, images=ids[::-1])
    assert sorted(apart.overlaps, key=lambda own: own.image) == sorted(together.overlaps, key=lambda own: own.image)
    assert sorted(apart.excluded) == sorted(together.excluded)


def test_images_whose_answer_is_wrong_or_changes_are_left_out_and_counted(tmp_path: Path) -> None:
    images = {"a": rows(0, 1), "b": rows(5, 6), "faint": rows(3, 4, red=0.7), "fainter": rows(3, 4, red=0.65)}
    images |= {"wrong": rows(7, 8, red=0.5), "green": rows(3, 4, red=0, green=1)}
    robustness = lit(tmp_path, **images)
    found = robustness.explanation_stability(Dim(), 0.2, by=Redness())
    # Dimmer by a fifth, two of them fall below the mean that the model asks for.
    assert [own.image for own in found.overlaps] == ["lit/a.png", "lit/b.png"]
    assert sorted(found.excluded) == [
        ("flipped", 2),
        ("without a believable explanation", 1),
        ("wrong when clean", 1),
    ]
    assert float(found) == 1.0
    assert repr(found) == (
        "explanations by Redness() under Dim() at share 0.2: stability 1.000 (overlap 1.000, that of other images 0.000), 2 images; "
        "left out: 2 flipped, 1 wrong when clean, 1 without a believable explanation"
    )


def test_under_an_attack_those_that_it_broke_are_left_out(learned: Robustness) -> None:
    ids = [image.id for image in learned.engine.images.images]
    broken = [not outcome.correct for outcome in learned.engine.evaluate(ids, FGSM(), 0.02).outcomes]
    assert 0 < sum(broken) <= 10
    found = learned.explanation_stability(FGSM(), 0.02)
    assert dict(found.excluded)["flipped"] == sum(broken)
    assert len(found.overlaps) + sum(n for _, n in found.excluded) == len(ids)
    assert {own.image for own in found.overlaps} <= {i for i, fell in zip(ids, broken, strict=True) if not fell}


def test_explanations_that_stay_pass_the_gate_and_those_that_move_fail_it(red: Robustness) -> None:
    red.assert_explanation_stable(Down(), 1, at_least=0.24, by=Redness())
    error = failed(lambda: red.assert_explanation_stable(Down(), 1, at_least=0.5, by=Redness()))
    passed, verdict = red.verdicts
    assert (passed.gate, passed.status, passed.n, passed.pictures) == ("explanation-stable", "pass", 3, ())
    assert (passed.measured, passed.margin) == pytest.approx((11 / 45, 11 / 45 - 0.24), abs=1e-5)
    assert verdict is error.verdict
    assert (verdict.status, verdict.required, verdict.run) == ("fail", 0.5, red.engine.provenance.key)
    assert str(error) == (
        "stability of explanations by Redness() under Down() at rows 1 >= 0.5\n"
        "stability 0.2444, required >= 0.5\n"
        "overlap 0.333, that of other images 0.111; 3 images\n"
        "short by 0.2556\n"
        "moved most: lit/a.png (0.20), lit/b.png (0.20), lit/c.png (0.33)\nto do: see in the report what the model looks at, train where it should not look there, or ask for less"
    )
    # What moved most is pictured, clean and stressed, without explanations where nobody asked for them.
    assert [(own.image[4], own.caption, own.panels) for own in verdict.pictures] == [
        (image, caption, ()) for image in "abc" for caption in ("clean", "rows 1")
    ]
    # A gate judges, it does not measure.
    assert red.measurements == []


def test_the_images_of_a_gate_over_explanations_can_be_chosen(red: Robustness) -> None:
    chosen = [red.engine.images["lit/a.png"], "lit/c.png"]
    red.assert_explanation_stable(Down(), 0, at_least=1, by=Redness(), images=chosen)
    assert (red.verdicts[0].n, red.verdicts[0].measured) == (2, 1.0)
    error = failed(lambda: red.assert_explanation_stable(Down(), 2, at_least=1, by=Redness(), images=chosen))
    assert error.verdict.n == 2


@pytest.mark.parametrize(("explain", "failing", "passing"), [("none", 0, None), ("failed", 3, None), ("all", 3, 3)])
def test_pictures_of_a_gate_come_with_explanations_where_they_are_asked_for(
    red: Robustness, explain: Any, failing: int, passing: int | None
) -> None:
    robustness = Robustness(red.engine, explain=explain, by=Redness("why"))
    failed(lambda: robustness.assert_explanation_stable(Down(), 1, at_least=0.5, by=Redness()))
    robustness.assert_explanation_stable(Down(), 1, at_least=0.1, by=Redness())
    fell, passed = robustness.verdicts
    assert [len(own.panels) for own in fell.pictures] == [0, failing] * 3
    assert [len(own.panels) for own in passed.pictures] == ([] if passing is None else [0, passing] * 3)
    if failing:
        assert [(panel.caption, panel.note) for panel in fell.pictures[1].panels] == [
            ("difference x 1, grey is none", ""),
            ("lit on the clean image", "why"),
            ("lit on the stressed image", "why"),
        ]


ELSEWHERE = (0, 8, 8, 16)


@pytest.mark.parametrize("by", [None, LIME, ANCHORS], ids=["grad-cam", "lime", "anchors"])
def test_every_explanation_of_a_model_that_looks_at_one_square_points_there(
    looking: Robustness, by: Explainer | None
) -> None:
    on = [image.id for image in looking.engine.images.images if image.labels == (0,)]
    inside, outside = (looking.attention(dict.fromkeys(on, box), by=by) for box in (BOX, ELSEWHERE))
    assert (float(inside), inside.inside, len(inside.hits)) == (1.0, 3, 3)
    assert (float(outside), outside.inside, len(outside.hits)) == (0.0, 0, 3)
    assert (inside.excluded, outside.excluded) == ((), ())
    assert [hit.label for hit in inside.hits] == ["on"] * 3
    assert looking.measurements == [inside, outside]
    assert (inside.chance, outside.chance) == (16 / 256, 64 / 256)
    assert min(hit.share for hit in inside.hits) > 0.5 > 0.3 > max(hit.share for hit in outside.hits)


def test_how_much_of_the_heat_lies_in_a_region_is_known_by_hand(looking: Robustness) -> None:
    """Upsampled from one value, 3 of 4 parts of the heat lie within its square, along each side."""
    found = looking.attention({"on/0.png": BOX, "off/3.png": BOX})
    assert [(hit.image, hit.label, hit.inside, hit.at) for hit in found.hits] == [
        ("on/0.png", "on", True, (9, 5)),
        ("off/3.png", "off", True, (9, 5)),
    ]
    assert [hit.share for hit in found.hits] == pytest.approx([0.75**2] * 2, abs=1e-6)
    assert str(found) == (
        "off/3.png: off points at (9, 5), inside; 0.56 of the heat lies in the region\n"
        "on/0.png: on points at (9, 5), inside; 0.56 of the heat lies in the region\n"
        "explanations by GradCAM() of clean images: 2 of 2 point into their region (by chance 0.06), 0.56 of the heat lies there"
    )


def test_attention_to_stressed_images_is_of_the_class_that_is_accepted(looking: Robustness) -> None:
    """Whatever the model says then: what speaks for "on" in a square that has gone dark is not there."""
    everywhere = {image.id: BOX for image in looking.engine.images.images}
    found = looking.attention(everywhere, Dim(), 0.3)
    assert (found.case.title, float(found)) == ("Dim() at share 0.3", 1.0)
    dark = looking.attention(everywhere, Dim(), 0.9)
    assert [(hit.image, hit.label) for hit in dark.hits] == [("off/3.png", "off"), ("off/4.png", "off")]
    assert dark.excluded == (("without a believable explanation", 3),)
    assert repr(dark) == (
        "explanations by GradCAM() of Dim() at share 0.9: 2 of 2 point into their region (by chance 0.06), 0.56 of the heat lies there; "
        "left out: 3 without a believable explanation"
    )


def test_of_several_accepted_classes_the_strongest_on_the_clean_image_is_explained(tmp_path: Path) -> None:
    save(tmp_path / "a.png", framed(0, 0.9))
    save(tmp_path / "b.png", framed(1, 0.1))
    save(tmp_path / "wrong.png", framed(2, 0.9))
    labels = {"a.png": ["on", "off"], "b.png": ["never", "off"], "wrong.png": ["never"]}
    images = labelled_images(tmp_path, labels, classes=["on", "off", "never"])
    robustness = Robustness(Engine(Window(), images, device="cpu"))
    found = robustness.attention(dict.fromkeys(labels, BOX), by=Redness())
    assert [hit.label for hit in found.hits] == ["on", "off", "never"]
    # The answer to the stressed image, which is "off" now, is not what is looked for.
    dark = robustness.attention(dict.fromkeys(labels, BOX), Dim(), 0.9, by=Redness())
    assert [hit.label for hit in dark.hits] == ["on", "off", "never"]


def test_what_speaks_against_the_class_is_no_part_of_its_heat(tmp_path: Path) -> None:
    against = rows(0, 1)
    against[2, 5:8] = 1
    robustness = lit(tmp_path, a=against)
    shares = {
        box: robustness.attention({"lit/a.png": box}, by=Redness()).hits[0].share
        for box in ((0, 0, 10, 1), (0, 1, 10, 8), (0, 5, 10, 8), (0, 0, 5, 4), (0, 0, 10, 2))
    }
    assert list(shares.values()) == [0.5, 0.5, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "region",
    [
        lambda folder, name: BOX,
        lambda folder, name: list(BOX),
        lambda folder, name: mask_of(BOX),
        lambda folder, name: folder / name,
        lambda folder, name: str(folder / name),
    ],
    ids=["box", "list", "mask", "path", "text"],
)
@pytest.mark.parametrize("name", ["white.png", "grey.png", "alpha.png"])
def test_a_region_is_a_box_or_a_mask_or_the_path_of_one(
    looking: Robustness, tmp_path: Path, region: Callable[[Path, str], Region], name: str
) -> None:
    mask = mask_of(BOX).expand(3, -1, -1).float()
    save(tmp_path / "white.png", mask)
    # Of a grey mask what is at least half white is inside.
    levels = Image.fromarray((128 * mask[0] + 127 * (1 - mask[0])).byte().numpy())
    levels.save(tmp_path / "grey.png")
    opaque = Image.fromarray((255 * mask).byte().permute(1, 2, 0).numpy())
    opaque.putalpha(255)
    opaque.save(tmp_path / "alpha.png")
    image = looking.engine.images["on/0.png"]
    assert looking.attention({image: region(tmp_path, name)}) == looking.attention({"on/0.png": BOX})


def test_the_masks_of_a_manifest_are_regions(looking: Robustness, tmp_path: Path) -> None:
    save(tmp_path / "windows" / "mask.png", mask_of(BOX).expand(3, -1, -1).float())
    table = "file,label,mask\non/0.png,on,mask.png\non/1.png,on,\noff/3.png,off,mask.png\n"
    (tmp_path / "windows" / "photos.csv").write_text(table, encoding="utf-8")
    images = image_manifest(tmp_path / "windows" / "photos.csv", classes=["on", "off", "never"])
    robustness = Robustness(Engine(Window(), images, device="cpu"))
    assert robustness.attention(images.masks) == looking.attention({"off/3.png": BOX, "on/0.png": BOX})
    robustness.assert_attends_to(images.masks)


def mask_of(box: tuple[int, int, int, int], size: int = 16) -> torch.Tensor:
    left, top, right, bottom = box
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(("resize", "crop", "size"), [(16, None, 32), (None, 16, 20), (20, 16, 40)])
def test_a_mask_image_is_resized_and_cropped_as_the_images_are(
    tmp_path: Path, resize: int | None, crop: int | None, size: int
) -> None:
    """The square that the model sees, looked up in the file: enlarged, and moved by what the crop cuts off."""
    scale, offset = size // (resize or size), ((resize or size) - (crop or resize or size)) // 2
    native = tuple(scale * (side + offset) for side in BOX)
    pixels = torch.full((3, size, size), 0.3)
    pixels[:, native[1] : native[3], native[0] : native[2]] = 0.95
    save(tmp_path / "on" / "0.png", pixels)
    save(tmp_path / "mask.png", mask_of(native, size).expand(3, -1, -1).float())  # type: ignore[arg-type]
    images = image_folder(tmp_path, classes=["on", "off", "never"], resize=resize, crop=crop)
    robustness = Robustness(Engine(Window(), images, device="cpu"))
    found = robustness.attention({"on/0.png": tmp_path / "mask.png"})
    assert found == robustness.attention({"on/0.png": BOX})
    assert (float(found), found.chance) == (1.0, 16 / 256)


def test_explanations_that_point_where_they_should_pass_the_gate(looking: Robustness) -> None:
    everywhere = {image.id: BOX for image in looking.engine.images.images}
    looking.assert_attends_to(everywhere)
    looking.assert_attends_to(everywhere, at_least=0.5, stress=Dim(), strength=0.3, by=GradCAM())
    first, second = looking.verdicts
    assert (first.gate, first.status, first.measured, first.required, first.n) == ("attends-to", "pass", 1.0, 1.0, 5)
    assert first.interval == pytest.approx((0.025 ** (1 / 5), 1.0))
    assert first.claim == "explanations by GradCAM() of clean images point into their regions >= 1"
    assert second.claim == "explanations by GradCAM() of Dim() at share 0.3 point into their regions >= 0.5"
    assert (second.status, second.margin, second.pictures) == ("pass", 0.5, ())
    assert looking.measurements == []


def test_explanations_that_point_elsewhere_fail_the_gate_and_say_where(looking: Robustness) -> None:
    regions: dict[Any, Region] = {"on/0.png": BOX, "on/1.png": ELSEWHERE, "off/4.png": BOX}
    error = failed(lambda: looking.assert_attends_to(regions, at_least=0.7))
    assert str(error) == (
        "explanations by GradCAM() of clean images point into their regions >= 0.7\n"
        "0.6667 (2 of 3, 95 % interval 0.094 to 0.992) point into their region, required >= 0.7\n"
        "by chance 0.12\n"
        "on/1.png: on points at (9, 5), outside; 0.02 of the heat lies in the region\nto do: see in the report what the model looks at, train where it should not look there, or ask for less"
    )
    assert (error.verdict.status, error.verdict.pictures) == ("fail", ())
    # Under a stress those that point elsewhere are pictured.
    error = failed(lambda: looking.assert_attends_to(regions, stress=Dim(), strength=0.1))
    assert [(own.image, own.caption) for own in error.verdict.pictures] == [
        ("on/1.png", "clean"),
        ("on/1.png", "share 0.1"),
    ]
    assert error.verdict.run == looking.engine.provenance.key


@pytest.mark.parametrize(
    "by", [None, GradCAM(layer="stage.4"), Lime(segments=Grid(4, 4), samples=60)], ids=["auto", "the norm", "lime"]
)
def test_a_model_that_is_run_folded_is_explained_as_it_was_given(learned: Robustness, by: Explainer | None) -> None:
    engine = learned.engine
    ids = [image.id for image in engine.images.images]
    batch = engine.images.batch(ids)
    labels = engine.logits(batch).argmax(1)
    engine.evaluate(ids)
    assert "2 batch norms folded" in engine.provenance.execution
    folded = Explainers(engine, by).of(batch, batch.images, labels.tolist())
    explainer = by or GradCAM()
    model = engine.model.eval()  # type: ignore[attr-defined]
    plain = explainer.explain(model, batch.images, labels, Streams(0, repr(explainer), batch.ids))
    for own, expected in zip(folded, plain, strict=True):
        most = expected.heat.heat.abs().max()
        assert own.heat.believable == expected.heat.believable
        assert (own.heat.heat - expected.heat.heat).abs().max() <= 1e-4 * most
    assert sum(own.heat.believable for own in folded) >= 10


def test_the_model_is_left_as_it_was_found(learned: Robustness) -> None:
    model = learned.engine.model
    assert isinstance(model, nn.Module)
    before = state(model)
    (first, *_) = learned.engine.images.images
    for by in (None, Lime(segments=Grid(3, 3), samples=40), Anchors(segments=Grid(2, 2))):
        learned.explain(first, PGD(steps=2), 0.05, by=by)
    learned.explanation_stability(GaussianNoise(), 0.01)
    learned.attention({first: BOX})
    assert state(model) == before


A_BOX = "expected a box (left, top, right, bottom) in whole pixels within 10 x 10, a mask or the path of one, got "
NOTHING = "; a gate over nothing would pass every model"


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((0, 0, 11, 5), f"lit/a.png: {A_BOX}(0, 0, 11, 5)"),
        ((0, 0, 5, 11), f"lit/a.png: {A_BOX}(0, 0, 5, 11)"),
        ((-1, 0, 5, 5), f"lit/a.png: {A_BOX}(-1, 0, 5, 5)"),
        ((0, -1, 5, 5), f"lit/a.png: {A_BOX}(0, -1, 5, 5)"),
        ((5, 0, 5, 5), f"lit/a.png: {A_BOX}(5, 0, 5, 5)"),
        ((0, 6, 5, 5), f"lit/a.png: {A_BOX}(0, 6, 5, 5)"),
        ((0, 0, 5.5, 5), f"lit/a.png: {A_BOX}(0, 0, 5.5, 5)"),
        ((0, 0, 5), f"lit/a.png: {A_BOX}(0, 0, 5)"),
        (None, f"lit/a.png: {A_BOX}None"),
        ((0, 0, 10, 10), "lit/a.png: expected a region that is a part of the image, got all of it"),
        (
            torch.zeros(10, 10, dtype=torch.bool),
            "lit/a.png: expected a region that is a part of the image, got nothing of it",
        ),
        (
            torch.ones(10, 10, dtype=torch.bool),
            "lit/a.png: expected a region that is a part of the image, got all of it",
        ),
        (torch.ones(5, 10, dtype=torch.bool), "lit/a.png: expected a mask (10, 10) bool, got (5, 10) bool"),
        (torch.ones(1, 10, 10, dtype=torch.bool), "lit/a.png: expected a mask (10, 10) bool, got (1, 10, 10) bool"),
        (torch.ones(10, 10), "lit/a.png: expected a mask (10, 10) bool, got (10, 10) float32"),
    ],
)
def test_what_is_no_region_of_the_image_is_refused(red: Robustness, region: Any, message: str) -> None:
    assert said(lambda: red.attention({"lit/a.png": region}, by=Redness())) == message
    assert said(lambda: red.assert_attends_to({"lit/a.png": region}, by=Redness())) == message
    assert (red.measurements, red.verdicts) == ([], [])


def test_a_mask_image_that_is_none_of_the_image_is_refused(red: Robustness, tmp_path: Path) -> None:
    save(tmp_path / "small.png", torch.ones(3, 10, 8))
    save(tmp_path / "black.png", torch.zeros(3, 10, 10))
    small, missing, black = (tmp_path / name for name in ("small.png", "missing.png", "black.png"))
    assert said(lambda: red.attention({"lit/a.png": small}, by=Redness())) == (
        f"{small}: expected a mask of the size of lit/a.png, 10 x 10 pixels, got 8 x 10"
    )
    assert said(lambda: red.attention({"lit/a.png": str(missing)}, by=Redness())) == (
        f"{missing}: expected an image file, found none; check the path"
    )
    assert said(lambda: red.attention({"lit/a.png": black}, by=Redness())) == (
        "lit/a.png: expected a region that is a part of the image, got nothing of it"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r: r.attention({}),
            "expected regions by image such as {'cat/1.png': (10, 20, 60, 80)}, got {}" + NOTHING,
        ),
        (
            lambda r: r.assert_attends_to([(0, 0, 5, 5)]),
            "expected regions by image such as {'cat/1.png': (10, 20, 60, 80)}, got [(0, 0, 5, 5)]" + NOTHING,
        ),
        (
            lambda r: r.attention({"lit/a.png": (0, 0, 5, 5)}, None, 0.5),
            "expected a stress for strength 0.5, got None; name one, as in FGSM()",
        ),
        (
            lambda r: r.explain(["lit/a.png", "lit/b.png"]),
            "expected one image to explain, got 2; ask for each",
        ),
        (lambda r: r.explain(r.engine.images), "expected one image to explain, got 3; ask for each"),
        (
            lambda r: r.explain("lit/a.png", None, 0.1),
            "expected a stress for strength 0.1, got None; name one, as in FGSM()",
        ),
        (
            lambda r: r.explain("lit/a.png", FGSM(), 2),
            "FGSM(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got 2; did you mean 2/255?",
        ),
        (
            lambda r: r.explain("lit/a.png", target="dark"),
            "expected an attack that goes for 'dark', got none; name one, such as PGD()",
        ),
        (
            lambda r: r.explain("lit/a.png", Down(), 1, target="dark"),
            "expected an attack, whose strength is the radius of a ball, got Down(); use explain without a target for a perturbation",
        ),
        (
            lambda r: r.explain("lit/a.png", FGSM(), 0.1, target="lit"),
            "lit/a.png: expected a target that is not accepted, got 'lit', which is right; choose another class",
        ),
        (
            lambda r: r.explanation_stability(Down(), 1, by=Redness(), images="lit/a.png"),
            "expected at least 2 explanations to judge, got 1" + NOTHING,
        ),
        (
            lambda r: r.assert_explanation_stable(Dim(), 1, at_least=0.5, by=Redness()),
            "expected at least 2 explanations to judge, got 0; left out: 3 flipped" + NOTHING,
        ),
        (
            lambda r: r.attention({"lit/a.png": (0, 0, 5, 5)}, Dim(), 1, by=Redness()),
            "expected at least 1 explanation to judge, got 0; left out: 1 without a believable explanation" + NOTHING,
        ),
        (
            lambda r: r.assert_explanation_stable(Down(), 1, at_least=0),
            "expected at_least to be a share in (0, 1], got 0; a gate at 0 would pass every model",
        ),
        (
            lambda r: r.assert_attends_to({"lit/a.png": (0, 0, 5, 5)}, at_least=1.5, by=Redness()),
            "expected at_least to be a share in (0, 1], got 1.5; a gate at 0 would pass every model",
        ),
        (
            lambda r: r.explain("lit/a.png", by=GradCAM()),
            "GradCAM(): expected an nn.Module, whose layers can be watched, got bright; take Lime(), which needs nothing but answers",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(red: Robustness, call: Callable[[Robustness], object], message: str) -> None:
    assert said(lambda: call(red)) == message
    assert (red.measurements, red.verdicts) == ([], [])


def test_unknown_images_and_classes_are_refused_with_the_nearest_name(red: Robustness) -> None:
    for call in (
        lambda: red.explain("lit/d.png"),
        lambda: red.attention({"lit/d.png": (0, 0, 5, 5)}),
        lambda: red.explanation_stability(Down(), 1, images="lit/d.png"),
    ):
        assert said(call).endswith("expected the id of one of its 3 images, got 'lit/d.png'; did you mean 'lit/c.png'?")
    assert said(lambda: red.explain("lit/a.png", FGSM(), 0.1, target="drk")).endswith(
        "expected a class or a group of classes, got 'drk'; did you mean 'dark'?"
    )


def test_a_layer_in_front_of_a_batch_norm_is_looked_at_as_it_is_though_the_model_is_run_folded(tmp_path: Path) -> None:
    """Folded, the convolution's output would have the norm in it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        norm = nn.BatchNorm2d(4)
        norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
        ).eval()
    pixels = (torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 255).to(torch.uint8)
    (tmp_path / "a").mkdir()
    for row, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a" / f"{row}.png")
    engine = Engine(model, image_folder(tmp_path, classes=["a", "b"]), device="cpu")
    batch, classes = engine.images.batch(["a/0.png", "a/1.png"]), torch.tensor([0, 1])
    before = engine.explained(GradCAM(layer="0"), batch, classes)
    assert engine.provenance.execution.startswith("1 batch norms folded")
    after = engine.explained(GradCAM(layer="0"), batch, classes)
    for own, other in zip(before, after, strict=True):
        assert torch.equal(own.heat.heat, other.heat.heat)


@pytest.mark.parametrize(("by", "name"), [("GradCAM", "'GradCAM'"), (GradCAM, "GradCAM")])
def test_what_is_no_explainer_is_refused(looking: Robustness, by: object, name: str) -> None:
    with pytest.raises(InputError) as error:
        looking.explain("on/0.png", by=by)  # type: ignore[arg-type]
    assert str(error.value) == f"expected an explainer such as GradCAM() or Lime(), got {name}; make an instance of one"

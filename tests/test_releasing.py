"""A release held against the one before, without pytest."""

from pathlib import Path

import pytest
import torch

from pytest_robustness import Blend, Engine, GateFailed, InputError, Robustness, SmoothingVote, image_folder
from pytest_robustness.loading import ImageSet
from pytest_robustness.results import Results

from .conftest import draw_grey


class Darker(torch.nn.Module):
    """Logits (dark, bright) = (0, 8 * (mean - bar)): the higher the bar, the more is dark."""

    def __init__(self, bar: float = 0.5) -> None:
        super().__init__()
        self.bar = bar

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        margin = 8 * (images.mean((1, 2, 3)) - self.bar)
        return torch.stack([torch.zeros_like(margin), margin], 1)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Dark pictures of mean 0, 0.2 and 0.4, bright ones of 1, 0.8 and 0.6."""
    for number, level in enumerate((0, 51, 102)):
        draw_grey(tmp_path / "images" / "dark" / f"{number}.png", level)
        draw_grey(tmp_path / "images" / "bright" / f"{number}.png", 255 - level)
    draw_grey(tmp_path / "white.png", 255)
    return image_folder(tmp_path / "images", classes=["dark", "bright"])


@pytest.fixture
def white(tmp_path: Path) -> Blend:
    return Blend(tmp_path / "white.png")


def made(images: ImageSet, bar: float = 0.5, baseline: Results | Path | None = None, seed: int = 0) -> Robustness:
    return Robustness(Engine(Darker(bar), images, device="cpu", seed=seed), baseline=baseline)


@pytest.fixture
def before(images: ImageSet, white: Blend) -> Results:
    """What the model before made of the images, clean and under a tenth of white."""
    robustness = made(images)
    robustness.assert_accuracy(at_least=0.5)
    robustness.assert_accuracy(white, 0.1, at_least=0.5)
    robustness.behind(SmoothingVote()).assert_accuracy(white, 0.1, at_least=0.5)
    return Results(tuple(robustness.verdicts), (robustness.engine.provenance,))


def test_a_model_that_lost_nothing_passes(images: ImageSet, white: Blend, before: Results) -> None:
    robustness = made(images, 0.5, before)
    robustness.assert_no_worse_than_baseline()
    robustness.assert_no_worse_than_baseline(white, 0.1)
    robustness.assert_no_worse_than_baseline(white, 0.1, images="dark/0.png")
    robustness.behind(SmoothingVote()).assert_no_worse_than_baseline(white, 0.1)
    assert [(v.gate, v.status, v.measured, v.n) for v in robustness.verdicts] == [
        ("no-worse", "pass", 0.0, 6),
        ("no-worse", "pass", 0.0, 6),
        ("no-worse", "pass", 0.0, 1),
        ("no-worse", "pass", 0.0, 6),
    ]


def test_a_model_that_lost_an_image_fails_with_it_and_its_pictures(
    images: ImageSet, white: Blend, before: Results
) -> None:
    """At a bar of 0.45, 0.4 + 0.1 * 0.6 = 0.46 is bright."""
    robustness = made(images, 0.45, before)
    robustness.assert_no_worse_than_baseline()
    with pytest.raises(GateFailed) as failed:
        robustness.assert_no_worse_than_baseline(white, 0.1)
    assert str(failed.value) == (
        f"accuracy under {white!r} at alpha 0.1 is no worse than the baseline's\n"
        "accuracy 0.8333 (5 of 6, 95 % interval 0.359 to 0.996)\n"
        "in the baseline 1 (6 of 6, 95 % interval 0.541 to 1.000): -0.1667, required >= 0\n"
        "1 lost and 0 gained, p = 1 (exact McNemar), against the results given as baseline\n"
        "lost: dark/2.png (bright 0.52)"
    )
    verdict = failed.value.verdict
    assert verdict.fallen == (("dark/2.png", 0.1),)
    assert [(own.image, own.caption) for own in verdict.pictures] == [
        ("dark/2.png", "clean"),
        ("dark/2.png", "alpha 0.1"),
    ]
    robustness.assert_no_worse_than_baseline(white, 0.1, drop=0.17)
    robustness.assert_no_worse_than_baseline(white, 0.1, images=["dark/0.png", "dark/1.png"])


def test_a_case_that_the_baseline_does_not_have_fails(images: ImageSet, white: Blend, before: Results) -> None:
    robustness = made(images, 0.5, before)
    with pytest.raises(GateFailed) as failed:
        robustness.assert_no_worse_than_baseline(white, 0.2)
    assert str(failed.value) == (
        f"accuracy under {white!r} at alpha 0.2 is no worse than the baseline's\n"
        f"expected {white!r} at alpha 0.2 in the baseline the results given as baseline, got none of it but {white!r} at alpha 0.1; run "
        "once with --robustness-update-baseline"
    )
    assert failed.value.verdict.fallen == ()


def test_a_baseline_may_be_a_file(tmp_path: Path, images: ImageSet, before: Results) -> None:
    path = tmp_path / "release.json"
    path.write_text(before.to_json(), encoding="utf-8")
    robustness = made(images, 0.5, path)
    robustness.assert_no_worse_than_baseline()
    assert robustness.verdicts[0].reason.endswith(f"against {path}")


def test_a_baseline_of_another_seed_is_refused(images: ImageSet, before: Results) -> None:
    with pytest.raises(InputError) as error:
        made(images, 0.5, before, seed=1).assert_no_worse_than_baseline()
    assert str(error.value) == (
        "the results given as baseline: expected clean images on the same data, got another seed (0 before, 1 now); run on the same "
        "images with the same seed, or write the baseline anew with --robustness-update-baseline"
    )


def test_without_a_baseline_there_is_nothing_to_compare_with(images: ImageSet) -> None:
    with pytest.raises(InputError) as error:
        made(images).assert_no_worse_than_baseline()
    assert str(error.value) == (
        "expected a baseline to compare with, got none; name one with --robustness-baseline, or in a notebook as Robustness(engine, "
        "baseline=Path('release.json'))"
    )

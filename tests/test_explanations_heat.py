"""What explanations share: what they are asked with is checked before any model is."""

import pytest
import torch

from pytest_robustness.explanations import Anchors, AttentionRollout, Explainer, GradCAM, Grid, Lime
from pytest_robustness.explanations.heat import of_classes
from tests.attack_models import convnet, noise_images, streams
from tests.explanation_models import classes, refused

explainers = pytest.mark.parametrize("explainer", [GradCAM(), AttentionRollout(), Lime(), Anchors()], ids=repr)


@explainers
def test_images_classes_and_ids_have_to_fit_each_other(explainer: Explainer) -> None:
    def explained(images: torch.Tensor, of: torch.Tensor, ids: int = 2) -> object:
        return explainer.explain(convnet(), images, of, streams(ids))

    images = noise_images(2)
    refused(
        "expected images as floats in [0, 1], got torch.uint8; divide bytes by 255",
        lambda: explained((images * 255).byte(), classes(0, 1)),
    )
    refused(
        f"{explainer!r}: expected images (n, 3, h, w), got (3, 6, 6)", lambda: explained(images[0], classes(0, 1, 2), 3)
    )
    refused(
        f"{explainer!r}: expected the class to explain of each image, (2,) int64, got (1,) int64",
        lambda: explained(images, classes(0)),
    )
    refused(
        f"{explainer!r}: expected the class to explain of each image, (2,) int64, got (2,) float32",
        lambda: explained(images, torch.zeros(2)),
    )
    refused(
        f"{explainer!r}: expected one id per image, got 3 for 2 images", lambda: explained(images, classes(0, 1), 3)
    )


@explainers
def test_no_images_have_no_explanations(explainer: Explainer) -> None:
    assert explainer.explain(convnet(), noise_images(2)[:0], classes(), streams(0)) == ()


@pytest.mark.parametrize("explainer", [GradCAM(), AttentionRollout()], ids=repr)
def test_a_plain_function_has_no_layers_to_watch(explainer: Explainer) -> None:
    def answer(images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    refused(
        f"{explainer!r}: expected an nn.Module, whose layers can be watched, got "
        "test_a_plain_function_has_no_layers_to_watch.<locals>.answer; take Lime(), which needs nothing but answers",
        lambda: explainer.explain(answer, noise_images(1), classes(0), streams(1)),
    )


def test_what_is_said_of_a_class_is_its_column_of_each_row() -> None:
    assert of_classes("x", torch.arange(6.0).reshape(2, 3), classes(2, 0)).tolist() == [2, 3]


def test_classes_that_the_logits_lack_and_other_answers_are_refused() -> None:
    refused("'x': expected classes from 0 to 2, got 3", lambda: of_classes("x", torch.zeros(2, 3), classes(0, 3)))
    refused("'x': expected classes from 0 to 2, got -1", lambda: of_classes("x", torch.zeros(2, 3), classes(-1, 0)))
    refused(
        "'x': expected logits (n, k), a row for each of 2 images, got (2, 3, 4)",
        lambda: of_classes("x", torch.zeros(2, 3, 4), classes(0, 0)),
    )
    refused(
        "'x': expected logits (n, k), a row for each of 2 images, got (1, 3)",
        lambda: of_classes("x", torch.zeros(1, 3), classes(0, 0)),
    )
    refused(
        "'x': expected logits (n, k), a row for each of 2 images, got tuple",
        lambda: of_classes("x", (torch.zeros(2, 3),), classes(0, 0)),  # type: ignore[arg-type]
    )
    refused(
        "'x': expected finite logits, got nan",
        lambda: of_classes("x", torch.tensor([[0.0, torch.nan], [torch.inf, 0.0]]), classes(1, 1)),
    )


class Both(torch.nn.Module):
    """Maps of a convolution, and attention between a token for all of them and each."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.maps = torch.nn.Conv2d(3, 4, 2, stride=2)
            self.attend = torch.nn.MultiheadAttention(4, 1, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.maps(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        return self.attend(tokens, tokens, tokens)[0][:, 0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("explainer", [GradCAM(layer="maps"), AttentionRollout(), Lime(), Anchors()], ids=repr)
def test_all_are_asked_alike_and_each_explanation_has_its_heat(explainer: Explainer) -> None:
    images = noise_images(2, 8)
    found = explainer.explain(Both(), images, classes(0, 1), streams(2), segments=Grid(4, 4)(images))
    assert len(found) == 2
    for explanation in found:
        assert explanation.heat.heat.shape == (8, 8)
        assert explanation.heat.heat.dtype == torch.float32
        assert explanation.heat.method == repr(explainer)
        assert explanation.heat.note

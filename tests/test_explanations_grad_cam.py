"""Grad-CAM: its formula by hand, captum's to the bit, the layer that is taken, and a region that is known."""

import contextlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.explanations import AttentionRollout, GradCAM, Heat
from pytest_robustness.types import Classifier
from tests.attack_models import noise_images, streams
from tests.explanation_models import Colours, Learning, classes, dim_noise, points_into, refused, state


def heats(explainer: GradCAM, model: Classifier, images: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.stack([said.heat.heat for said in explainer.explain(model, images, of, streams(len(images)))])


def of_captum(model: nn.Module, layer: nn.Module, images: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    from captum.attr import LayerAttribution, LayerGradCam

    small = LayerGradCam(model, layer).attribute(images, of, relu_attributions=True)
    upsampled: torch.Tensor = LayerAttribution.interpolate(small, tuple(images.shape[-2:]), "bilinear")
    return upsampled.squeeze(1).detach()


def published(name: str, **settings: Any) -> nn.Module:
    """A model of torchvision by its name, as it is made under seed 0."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = getattr(torchvision.models, name)(**settings)
    return model.eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return published("resnet18", num_classes=5)


def test_over_pooled_maps_and_a_linear_head_it_is_the_maps_times_their_weights() -> None:
    model, images, of = Learning().eval(), noise_images(4, 9), classes(0, 1, 2, 1)
    with torch.no_grad():
        maps = model.stage(images)
    weights = model.head.weight.detach()[of] / (4 * 4)
    small = F.relu(torch.einsum("nc,nchw->nhw", weights, maps))
    expected = F.interpolate(small.unsqueeze(1), (9, 9), mode="bilinear").squeeze(1)
    found = heats(GradCAM(), model, images, of)
    assert found.shape == (4, 9, 9)
    assert found.dtype == torch.float32
    assert expected.max() > 0.01
    assert torch.allclose(found, expected, atol=1e-7)


def test_it_is_that_of_captum_to_the_bit(resnet: nn.Module) -> None:
    images, of = noise_images(3, 64), classes(0, 4, 2)
    found = heats(GradCAM(), resnet, images, of)
    assert found.any()
    assert torch.equal(found, of_captum(resnet, resnet.layer4, images, of))
    assert torch.equal(
        heats(GradCAM(layer="layer2.0"), resnet, images, of), of_captum(resnet, resnet.layer2[0], images, of)
    )


def test_what_follows_may_write_to_the_maps() -> None:
    """The norm's output is overwritten by the ReLU behind it; captum is asked about a copy that does not."""
    model, images, of = Learning().eval(), noise_images(2, 9), classes(0, 2)
    found = heats(GradCAM(layer="stage.1"), model, images, of)
    model.stage[2] = nn.ReLU()
    assert torch.equal(found, of_captum(model, model.stage[1], images, of))


@pytest.mark.parametrize(
    ("name", "side", "layer"),
    [
        ("resnet18", 64, "2 x 2 values of layer4"),
        ("mobilenet_v2", 64, "2 x 2 values of features"),
        # Its adaptive pooling makes 7 x 7 of 2 x 2, and would of a single pixel.
        ("squeezenet1_1", 64, "3 x 3 values of classifier.2"),
        ("shufflenet_v2_x0_5", 64, "2 x 2 values of conv5"),
    ],
)
def test_the_layer_is_the_last_that_gives_maps(name: str, side: int, layer: str) -> None:
    model = published(name, num_classes=5)
    said = [GradCAM().explain(model, noise_images(1, side), classes(k), streams(1))[0].heat.note for k in range(5)]
    assert layer in said
    assert set(said) <= {layer, f"nothing in {layer.split()[-1]} speaks for the class"}


class Pooled(nn.Module):
    """Four maps of one pixel more or fewer, made 3 x 3 by an adaptive pooling; one ReLU everywhere, as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(3, 4, 3, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(3)
        self.hidden, self.head = nn.Linear(36, 8), nn.Linear(8, 2)
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.uniform_(-0.5, 1, generator=torch.Generator().manual_seed(number))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(self.relu(self.conv(images)))
        return self.head(self.relu(self.hidden(pooled.flatten(1))))  # type: ignore[no-any-return]


def test_an_activation_that_the_head_shares_and_an_adaptive_pooling_are_seen_through() -> None:
    model = Pooled()
    (said,) = GradCAM().explain(model, noise_images(1, 18), classes(1), streams(1))
    assert said.heat.note == "6 x 6 values of relu"
    images = noise_images(1, 18)
    maps = model.relu(model.conv(images)).detach().requires_grad_()
    logit = model.head(model.relu(model.hidden(model.pool(maps).flatten(1))))[0, 1]
    (gradient,) = torch.autograd.grad(logit, maps)
    small = F.relu((gradient.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True))
    assert torch.allclose(said.heat.heat, F.interpolate(small, (18, 18), mode="bilinear")[0, 0], atol=1e-6)


class Kernel(nn.Module):
    """A convolution that is written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3, 3, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.conv2d(images, self.weight)


def test_a_convolution_may_be_one_of_the_users_own() -> None:
    model = nn.Sequential(Kernel(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    (said,) = GradCAM().explain(model, noise_images(1), classes(0), streams(1))
    assert said.heat.note == "4 x 4 values of 0"


def test_pixels_whose_channels_come_last_are_no_maps() -> None:
    """A map of 7 rows, 7 columns and 768 channels that come last is not one of 7 channels, 7 rows and 768 columns."""

    class Last(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return maps.permute(0, 2, 3, 1)

    class Mean(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.mean((1, 2))

    model = nn.Sequential(nn.Conv2d(3, 64, 2, stride=2), Last(), Mean(), nn.Linear(64, 2))
    refused(
        "GradCAM(): expected a model whose last stage gives maps (n, c, h, w), found none; "
        "take AttentionRollout() for a vision transformer, or name one of its layers with maps: '0', '1'",
        lambda: GradCAM().explain(model, noise_images(1, 8), classes(0), streams(1)),
    )


def test_a_vision_transformer_has_no_last_stage_of_maps_but_a_layer_can_be_named() -> None:
    model = tiny_vit()
    images, of = noise_images(1, 16), classes(0)
    refused(
        "GradCAM(): expected a model whose last stage gives maps (n, c, h, w), found none; "
        "take AttentionRollout() for a vision transformer, or name one of its layers with maps: 'conv_proj'",
        lambda: GradCAM().explain(model, images, of, streams(1)),
    )
    # With an older torch the two differ in the last digits of heats of 1e-8.
    own, captums = heats(GradCAM(layer="conv_proj"), model, images, of), of_captum(model, model.conv_proj, images, of)
    assert torch.allclose(own, captums, rtol=1e-4, atol=1e-10)
    assert AttentionRollout().explain(model, images, of, streams(1))[0].heat.believable


def tiny_vit() -> nn.Module:
    model = published(
        "VisionTransformer",
        image_size=16, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3,
    )  # fmt: skip
    nn.init.ones_(model.heads.head.weight[:1])
    return model


def test_a_model_without_convolutions_is_sent_to_lime() -> None:
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(3 * 6 * 6, 2))
    refused(
        "GradCAM(): expected a model whose last stage gives maps (n, c, h, w), found none; "
        "take AttentionRollout() for a vision transformer, or name one of its layers with maps: '0'",
        lambda: GradCAM().explain(model, noise_images(1), classes(0), streams(1)),
    )
    refused(
        "GradCAM(): expected a model whose last stage gives maps (n, c, h, w), found none; "
        "take AttentionRollout() for a vision transformer, or take Lime()",
        lambda: GradCAM().explain(model[1:], noise_images(1), classes(0), streams(1)),
    )


def test_a_layer_that_is_none_or_has_no_maps_is_refused_with_others_to_name(resnet: nn.Module) -> None:
    def explained(layer: str) -> object:
        return GradCAM(layer=layer).explain(resnet, noise_images(1, 64), classes(0), streams(1))

    refused(
        "GradCAM(layer='layer5'): expected a layer of the model, got 'layer5'; "
        "the nearest names are 'layer4', 'layer3', 'layer2'",
        lambda: explained("layer5"),
    )
    refused(
        "GradCAM(layer='zzz'): expected a layer of the model, got 'zzz'; "
        "the nearest names are 'layer4.1.relu', 'layer4.1.conv2', 'layer4.1.bn2', 'avgpool', 'fc'",
        lambda: explained("zzz"),
    )
    refused(
        "GradCAM(layer='fc'): expected a layer that answers with maps (n, c, h, w), got (1, 5) for one image; layers with "
        "such an output are 'layer4.1.conv2', 'layer4.1.bn2', 'layer4.1.relu', 'layer4.1', 'layer4'",
        lambda: explained("fc"),
    )


class Watching(nn.Module):
    """A head that nothing asks, and one whose answer is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.aside, self.idle = (nn.Conv2d(3, 2, 3) for _ in range(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.aside(images)
        return self.conv(images).mean((2, 3))  # type: ignore[no-any-return]


def test_a_layer_that_is_not_used_is_refused() -> None:
    def explained(layer: str) -> object:
        return GradCAM(layer=layer).explain(Watching(), noise_images(1), classes(0), streams(1))

    refused(
        "GradCAM(layer='idle'): expected a layer that answers with maps (n, c, h, w), got no tensor; "
        "layers with such an output are 'aside', 'conv'",
        lambda: explained("idle"),
    )
    refused(
        "GradCAM(layer='aside'): expected logits that depend on aside by differentiable operations, got logits without a "
        "gradient to it; name another layer, or remove no_grad and detach() from the model's forward",
        lambda: explained("aside"),
    )


def test_classes_that_the_model_lacks_are_refused() -> None:
    refused(
        "GradCAM(): expected classes from 0 to 1, got 2",
        lambda: GradCAM().explain(Colours(), noise_images(1, 32), classes(2), streams(1)),
    )


def test_where_nothing_speaks_for_the_class_the_heat_is_not_to_be_believed() -> None:
    red = dim_noise(1, 32)
    red[:, 0, 8:16, 8:16] = 1
    seen, unseen = (GradCAM().explain(Colours(), red, classes(k), streams(1))[0].heat for k in (0, 1))
    assert (seen.note, seen.believable) == ("8 x 8 values of stage", True)
    assert (unseen.note, unseen.believable) == ("nothing in stage speaks for the class", False)
    assert not unseen.heat.any()


def test_it_points_into_the_region_that_each_class_rests_on_wherever_that_is() -> None:
    places = [(top, left) for top in range(0, 25, 4) for left in range(0, 25, 4)]
    images = dim_noise(len(places), 32)
    for image, (top, left) in zip(images, places, strict=True):
        image[0, top : top + 8, left : left + 8] = 1
        image[1, (top + 16) % 32 : (top + 16) % 32 + 8, left : left + 8] = 1
    for k, down in ((0, 0), (1, 16)):
        found = heats(GradCAM(), Colours(), images, torch.full((len(places),), k))
        hits = [points_into(heat, (top + down) % 32, left, 8) for heat, (top, left) in zip(found, places, strict=True)]
        assert all(hits)


def test_an_image_has_the_same_heat_alone_in_company_and_in_another_order() -> None:
    model, images, of = Learning(), noise_images(5, 9), classes(0, 1, 2, 0, 1)
    together = heats(GradCAM(), model, images, of)
    assert torch.equal(heats(GradCAM(), model, images, of), together)
    assert torch.allclose(heats(GradCAM(), model, images.flip(0), of.flip(0)).flip(0), together, atol=1e-6)
    for row in range(5):
        alone = heats(GradCAM(), model, images[row : row + 1], of[row : row + 1])
        assert torch.allclose(alone[0], together[row], atol=1e-6)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_it_leaves_the_model_the_images_and_their_gradients_as_found(failing: int) -> None:
    """The first call looks for the layer, the second explains."""
    model = Learning(fails=lambda call: call == failing)
    images = noise_images(2, 9).requires_grad_()
    before, pixels = state(model), images.detach().clone()
    with pytest.raises(RuntimeError, match=r"^out of order$") if failing else contextlib.nullcontext():
        GradCAM().explain(model, images, classes(0, 1), streams(2))
    assert state(model) == before
    assert torch.equal(images.detach(), pixels)
    assert images.grad is None


def test_it_takes_gradients_where_they_are_switched_off_around_it() -> None:
    model, images, of = Learning(), noise_images(2, 9), classes(0, 1)
    expected = heats(GradCAM(), model, images, of)
    with torch.no_grad():
        found = heats(GradCAM(), model, images, of)
    assert torch.equal(found, expected)
    assert not found.requires_grad


def test_its_repr_is_its_constructor_call_and_goes_with_the_heat() -> None:
    (said,) = GradCAM(layer="stage").explain(Colours(), noise_images(1, 32), classes(0), streams(1))
    assert isinstance(said.heat, Heat)
    assert said.heat.method == "GradCAM(layer='stage')"

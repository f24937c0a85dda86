"""Attention rollout: the product of the layers' attention by hand, and a patch that is known to be looked at."""

import contextlib
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.explanations import AttentionRollout
from tests.attack_models import convnet, noise_images, streams
from tests.explanation_models import classes, dim_noise, points_into, refused, state


def tiny_vit(side: int = 16) -> Any:
    """A vision transformer of torchvision."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.VisionTransformer(
            image_size=side, patch_size=4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3
        )
        # Attention as it is at first is nearly uniform.
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                nn.init.normal_(module.in_proj_weight)
                nn.init.normal_(module.in_proj_bias)
    return model.eval()


def attention(asked: nn.MultiheadAttention, tokens: torch.Tensor) -> torch.Tensor:
    """(n, t, t): the softmax of scaled products of queries and keys, mean over heads."""
    query, key, _ = F.linear(tokens, asked.in_proj_weight, asked.in_proj_bias).chunk(3, dim=2)
    n, t, width = query.shape
    q, k = (part.reshape(n, t, asked.num_heads, -1).transpose(1, 2) for part in (query, key))
    scores = q @ k.transpose(2, 3) / math.sqrt(width / asked.num_heads)
    return scores.softmax(3).mean(1)


def rolled(layers: list[torch.Tensor]) -> torch.Tensor:
    """(n, t - 1): how the class token's answer is made of the patches, by following every path through the layers."""
    n, t, _ = layers[0].shape
    share = F.one_hot(torch.tensor(0), t).float().expand(n, 1, t)
    for layer in reversed(layers):
        share = 0.5 * share + 0.5 * share @ layer
    return share[:, 0, 1:]


@torch.no_grad()
def test_it_is_the_product_of_half_the_attention_and_half_the_identity() -> None:
    model, images = tiny_vit(), noise_images(3, 16)
    tokens = torch.cat([model.class_token.expand(3, -1, -1), model._process_input(images)], 1)
    tokens = tokens + model.encoder.pos_embedding
    layers = []
    for block in model.encoder.layers:
        layers.append(attention(block.self_attention, block.ln_1(tokens)))
        tokens = block(tokens)
    expected = F.interpolate(rolled(layers).reshape(3, 1, 4, 4), (16, 16), mode="bilinear").squeeze(1)
    said = AttentionRollout().explain(model, images, classes(0, 1, 2), streams(3))
    for one, heat in zip(said, expected, strict=True):
        assert torch.allclose(one.heat.heat, heat, atol=1e-6)
        assert one.heat.heat.dtype == torch.float32
        assert (one.heat.method, one.heat.note, one.heat.believable) == (
            "AttentionRollout()",
            "the same for every class",
            True,
        )


class Encoded(nn.Module):
    """Torch's own encoder of tokens, over patches of 4 pixels; other layouts and other ways to ask by its settings."""

    def __init__(self, *, batch_first: bool = True, layers: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.project = nn.Conv2d(3, 8, 4, stride=4)
            self.first = nn.Parameter(torch.randn(1, 1, 8))
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=batch_first)
            self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.head = nn.Linear(8, 3)
        self.batch_first = batch_first

    def tokens(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.project(images).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(len(images), -1, -1), patches], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.tokens(images)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        tokens = self.encoder(tokens)
        return self.head(tokens[:, 0] if self.batch_first else tokens[0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch_first", [True, False])
@torch.no_grad()
def test_it_sees_the_attention_of_torchs_own_encoder_which_has_a_way_around_the_module(batch_first: bool) -> None:
    model, images = Encoded(batch_first=batch_first), noise_images(2, 16)
    said = AttentionRollout().explain(model, images, classes(0, 1), streams(2))
    model.eval()
    tokens, layers = model.tokens(images), []
    for layer in model.encoder.layers:
        layers.append(attention(layer.self_attn, tokens))
        tokens = layer(tokens) if batch_first else layer(tokens.transpose(0, 1)).transpose(0, 1)
    expected = F.interpolate(rolled(layers).reshape(2, 1, 4, 4), (16, 16), mode="bilinear").squeeze(1)
    assert torch.allclose(torch.stack([one.heat.heat for one in said]), expected, atol=1e-6)


class Asking(nn.Module):
    """Attention asked for with or without its weights, by place or by name; remembers what it was given."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.project = nn.Conv2d(3, 8, 4, stride=4)
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.args, self.named = args, named
        self.given: tuple[int, ...] | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.project(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        made, weights = self.attend(tokens, tokens, tokens, *self.args, **self.named)
        self.given = None if weights is None else tuple(weights.shape)
        return made[:, 0]  # type: ignore[no-any-return]


def test_the_model_is_given_what_it_asks_for() -> None:
    images, heats = noise_images(2, 16), []
    for model, given in (
        (Asking(), (2, 17, 17)),
        (Asking(need_weights=False), None),
        (Asking(None, False, None, True, False), None),
        (Asking(average_attn_weights=False), (2, 2, 17, 17)),
    ):
        heats.append(AttentionRollout().explain(model, images, classes(0, 1), streams(2))[1].heat.heat)
        assert model.given == given
    assert all(torch.allclose(heat, heats[0], atol=1e-6) for heat in heats)


class Looking(nn.Module):
    """The class token looks at what is bright, in patches of 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(2, 1, bias=False, batch_first=True)
        with torch.no_grad():
            # A token is (brightness, 1): all ask for 30 times the brightness.
            self.attend.in_proj_weight.copy_(
                torch.tensor([[0.0, 30.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = F.avg_pool2d(images.mean(1, keepdim=True), 4).flatten(1)
        tokens = torch.stack([F.pad(bright, (1, 0)), torch.ones(len(images), bright.shape[1] + 1)], 2)
        return self.attend(tokens, tokens, tokens, need_weights=False)[0][:, 0]  # type: ignore[no-any-return]


def test_it_points_into_the_region_that_is_looked_at_wherever_that_is() -> None:
    places = [(top, left) for top in range(0, 25, 4) for left in range(0, 25, 4)]
    images = dim_noise(len(places), 32)
    for image, (top, left) in zip(images, places, strict=True):
        image[:, top : top + 8, left : left + 8] = 1
    said = AttentionRollout().explain(Looking(), images, classes(*[0] * len(places)), streams(len(places)))
    assert all(points_into(one.heat.heat, top, left, 8) for one, (top, left) in zip(said, places, strict=True))


def test_the_grid_of_patches_has_the_proportions_of_the_image() -> None:
    image = dim_noise(1, 32)[:, :, :16]
    image[:, :, 4:8, 24:28] = 1
    (said,) = AttentionRollout().explain(Looking(), image, classes(0), streams(1))
    assert said.heat.heat.shape == (16, 32)
    assert points_into(said.heat.heat, 4, 24, 4)


def test_an_image_has_the_same_heat_alone_in_company_and_in_another_order() -> None:
    model, images = tiny_vit(), noise_images(4, 16)

    def heats(rows: list[int]) -> torch.Tensor:
        said = AttentionRollout().explain(model, images[rows], classes(*[0] * len(rows)), streams(len(rows)))
        return torch.stack([one.heat.heat for one in said])

    together = heats([0, 1, 2, 3])
    assert torch.equal(heats([0, 1, 2, 3]), together)
    assert torch.allclose(heats([3, 2, 1, 0]).flip(0), together, atol=1e-6)
    for row in range(4):
        assert torch.allclose(heats([row])[0], together[row], atol=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_it_leaves_the_model_and_torch_as_found(fails: bool) -> None:
    model = Encoded().train()
    model.encoder.layers[1].eval()
    model.head.weight.requires_grad = False
    model.first.grad = torch.ones(1, 1, 8)
    if fails:
        model.head = nn.Linear(9, 3)
    before = state(model)
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        AttentionRollout().explain(model, noise_images(2, 16), classes(0, 1), streams(2))
    assert state(model) == before
    assert torch.backends.mha.get_fastpath_enabled()


def test_models_of_another_kind_are_refused() -> None:
    rollout = AttentionRollout()
    refused(
        "AttentionRollout(): expected a model with torch.nn.MultiheadAttention, found none that was asked; "
        "take GradCAM() for a convolutional network, or Lime()",
        lambda: rollout.explain(convnet(), noise_images(1), classes(0), streams(1)),
    )
    refused(
        "AttentionRollout(): expected one class token and a grid of patches in the image's proportions, "
        "got 65 tokens for images of 48 x 32 pixels",
        lambda: rollout.explain(Odd(), noise_images(1, 48)[:, :, :32], classes(0), streams(1)),
    )
    refused(
        "AttentionRollout(): expected classes from 0 to 2, got 3",
        lambda: rollout.explain(tiny_vit(), noise_images(1, 16), classes(3), streams(1)),
    )


class Odd(nn.Module):
    """64 patches whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(2, 1, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(1)[:, :130].reshape(len(images), 65, 2)
        return self.attend(tokens, tokens, tokens)[0][:, 0]  # type: ignore[no-any-return]


class Narrowing(nn.Module):
    """Two layers of attention, the second over half the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.MultiheadAttention(2, 1, batch_first=True) for _ in range(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.flatten(1)[:, :20].reshape(len(images), 10, 2)
        tokens = self.first(tokens, tokens, tokens)[0][:, :5]
        return self.second(tokens, tokens, tokens)[0][:, 0]  # type: ignore[no-any-return]


def test_layers_over_other_tokens_are_refused() -> None:
    refused(
        "AttentionRollout(): expected attention between the same tokens of each image in all layers, "
        "got (1, 5, 5), (1, 10, 10)",
        lambda: AttentionRollout().explain(Narrowing(), noise_images(1), classes(0), streams(1)),
    )

"""A folded model answers as the plain one does, and whatever can't be folded is left alone."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from pytest_robustness.folding import Watch, folded, swapped
from pytest_robustness.running import RunningModel

CPU = torch.device("cpu")


def images(n: int = 4, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(n * size))


def drawn(model: nn.Module) -> nn.Module:
    """The model in eval mode with weights and statistics as after training: no scale is 1, no mean is 0."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
            ):
                if tensor is not None:
                    tensor.data.uniform_(low, high, generator=generator)
    return model.eval()


class Classified(nn.Module):
    """Three classes out of the mean of eight channels, through a body that is to be folded or not."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).mean((2, 3)))


def prepared(model: nn.Module, probe: torch.Tensor, classes: int = 3) -> RunningModel:
    running = RunningModel(model, classes, device=CPU)
    running.prepare(probe)
    return running


def answers(running: RunningModel, asked: torch.Tensor) -> torch.Tensor:
    with running.running(), torch.no_grad():
        return running.logits([""] * len(asked), asked)


def assert_answers_agree(model: nn.Module, running: RunningModel, asked: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model(asked)
    torch.testing.assert_close(answers(running, asked), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return drawn(make())


def test_a_batch_norm_of_one_channel_is_folded_by_hand() -> None:
    """y = scale * (w x + b - mean) / sqrt(var + eps) + shift, with scale 3, mean 1, var + eps 4, shift 5, w 2, b 7."""
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)
    for tensor, value in (
        (conv.weight, 2.0),
        (conv.bias, 7.0),
        (norm.weight, 3.0),
        (norm.bias, 5.0),
        (norm.running_mean, 1.0),
        (norm.running_var, 3.0),
    ):
        assert tensor is not None
        tensor.data.fill_(value)
    swaps = {name: value for _, name, value in folded(conv, norm)}
    assert swaps["weight"].item() == 3.0
    assert swaps["bias"].item() == 14.0
    x = torch.tensor([[[[0.5]]]])
    with swapped(folded(conv, norm)), torch.no_grad():
        assert norm(conv(x)).item() == 15.5
    with torch.no_grad():
        assert norm.eval()(conv(x)).item() == 15.5


@pytest.mark.parametrize(
    "conv",
    [
        {},
        {"bias": False},
        {"groups": 2, "bias": False},
        {"stride": 2},
        {"dilation": 2, "padding": 2},
        {"padding": "same", "padding_mode": "reflect"},
    ],
    ids=str,
)
@pytest.mark.parametrize("affine", [True, False])
def test_a_folded_convolution_answers_as_it_did_with_its_batch_norm(conv: dict[str, object], affine: bool) -> None:
    pair = seeded(lambda: nn.Sequential(nn.Conv2d(4, 8, 3, **conv), nn.BatchNorm2d(8, affine=affine, eps=1e-3)))
    x = torch.rand(4, 4, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = pair(x)
        with swapped(folded(pair[0], pair[1])):
            got = pair(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_what_is_swapped_is_put_back_or_removed_also_after_an_error() -> None:
    first, second = {"a": 1, "b": 2}, {"a": 3}
    with swapped([(first, "a", 9), (second, "c", 8), (first, "a", 7)]):
        assert (first, second) == ({"a": 7, "b": 2}, {"a": 3, "c": 8})
        del second["c"]
    assert (first, second) == ({"a": 1, "b": 2}, {"a": 3})
    with pytest.raises(KeyError, match="missing"), swapped([(first, "a", 9), (second, "c", 8)]):
        raise KeyError("missing")
    assert (first, second) == ({"a": 1, "b": 2}, {"a": 3})


def test_watching_leaves_no_hook_behind_also_after_an_error() -> None:
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
    with pytest.raises(RuntimeError, match="weight of size"), Watch(model):
        model(torch.zeros(1, 4, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Residual(nn.Module):
    """Two convolutions around an activation in place, and a shortcut of one by one."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride=stride), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(inside)) + self.shortcut(x))


def test_a_residual_network_is_folded_whole() -> None:
    model = seeded(lambda: Classified(nn.Sequential(Residual(3, 8), Residual(8, 8, stride=2))))
    running = prepared(model, images())
    assert running.how == "6 batch norms folded, channels_last"
    assert_answers_agree(model, running, images(9))


@pytest.mark.parametrize(("name", "norms"), [("resnet18", 20), ("mobilenet_v2", 52), ("densenet121", 59)])
def test_torchvisions_models_are_folded_where_the_norm_comes_behind_the_convolution(name: str, norms: int) -> None:
    model = seeded(lambda: torchvision.models.get_model(name, weights=None, num_classes=10))
    running = prepared(model, images(4, 64), classes=10)
    assert running.how == f"{norms} batch norms folded, channels_last"
    assert_answers_agree(model, running, images(5, 64))


def test_a_norm_in_front_of_its_convolution_is_not_folded() -> None:
    model = seeded(lambda: Classified(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 8, 3))))
    running = prepared(model, images())
    assert running.how == "channels_last (not folded: no batch norm directly behind a convolution)"
    assert_answers_agree(model, running, images(5))


def test_a_forward_that_asks_for_the_size_of_the_images_is_folded() -> None:
    """Symbolic tracing would refuse it."""

    class BySize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] > 16:
                x = x[..., ::2, ::2]
            out = self.conv(x)
            assert out.shape[-1] == out.size(3)
            return self.norm(out)

    model = seeded(lambda: Classified(BySize()))
    running = prepared(model, images(4, 40))
    assert running.how == "1 batch norms folded, channels_last"
    assert_answers_agree(model, running, images(5, 40))
    assert_answers_agree(model, running, images(5, 12))


class Pair(nn.Module):
    """A convolution and its batch norm, to be used otherwise than one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)


class UsedElsewhere(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv(x)
        return self.norm(out) + 0.3 * out


class UsedBefore(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv(x)
        together = torch.cat([out, out], dim=1)
        return self.norm(out) + together[:, :8]


class UsedInPlaceBetween(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(nn.functional.relu_(self.conv(x)))


class UsedByAViewBetween(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv(x)
        out[:, :4].mul_(0.5)
        return self.norm(out)


class ConvolvesTwice(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) + self.conv(x.flip(3))


class NormsTwice(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(3, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) + self.norm(self.other(x))


class TwoNorms(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv(x)
        return self.norm(out) * self.other(out)


class Standardised(nn.Conv2d):
    """Qiao et al. 2019: each filter is brought to mean 0 and deviation 1, in the forward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class StandardisedInside(nn.Conv2d):
    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return super()._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), bias)


class Activated(nn.BatchNorm2d):
    """A batch norm with its activation, as timm has it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


def parametrized() -> nn.Module:
    conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
    return nn.Sequential(conv, nn.BatchNorm2d(8))


def hooked(place: int) -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    body[place].register_forward_hook(lambda module, inputs, output: output.clamp(max=0.2))
    return body


def with_a_forward_of_its_own() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    plain = body[1].forward
    body[1].forward = lambda x: plain(x).abs()
    return body


@pytest.mark.parametrize(
    "body",
    [
        UsedElsewhere,
        UsedBefore,
        UsedInPlaceBetween,
        UsedByAViewBetween,
        ConvolvesTwice,
        NormsTwice,
        TwoNorms,
        lambda: nn.Sequential(Standardised(3, 8, 3), nn.BatchNorm2d(8)),
        lambda: nn.Sequential(StandardisedInside(3, 8, 3), nn.BatchNorm2d(8)),
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Activated(8)),
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)),
        parametrized,
        lambda: hooked(0),
        lambda: hooked(1),
        with_a_forward_of_its_own,
    ],
    ids=[
        "its output is used elsewhere",
        "its output was used before",
        "an activation in place",
        "a view written to",
        "a convolution called twice",
        "a norm called twice",
        "two norms",
        "standardised weights",
        "standardised inside",
        "a norm with an activation",
        "no statistics",
        "parametrized",
        "a hook on the convolution",
        "a hook on the norm",
        "a forward of its own",
    ],
)
def test_what_is_more_than_a_convolution_and_its_norm_is_not_folded(body: Callable[[], nn.Module]) -> None:
    model = seeded(lambda: Classified(body()))
    running = prepared(model, images())
    assert running.how == "channels_last (not folded: no batch norm directly behind a convolution)"
    assert_answers_agree(model, running, images(5))


def test_one_pair_that_can_not_be_folded_leaves_the_others_folded() -> None:
    model = seeded(
        lambda: Classified(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), UsedElsewhere(), Residual(8, 8)))
    )
    running = prepared(model, images())
    assert running.how == "4 batch norms folded, channels_last"
    assert_answers_agree(model, running, images(5))


def test_folding_that_changes_answers_is_refused_with_the_difference() -> None:
    """The weight is used besides, which no watching of outputs shows."""

    class WeightUsed(Pair):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) * self.conv.weight.abs().mean()

    model = seeded(lambda: Classified(WeightUsed()))
    running = prepared(model, images())
    with torch.no_grad(), swapped(folded(model.body.conv, model.body.norm)):
        got = model(images())
    with torch.no_grad():
        expected = model(images())
    difference = ((got - expected).abs().max() / expected.abs().max()).item()
    assert running.how == f"channels_last (not folded: answers differ by {difference:.1e})"
    assert_answers_agree(model, running, images(5))


def test_weights_shared_by_two_convolutions_are_folded_in_the_one_that_has_a_norm() -> None:
    class Shared(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Conv2d(3, 8, 3, padding=1)
            self.other.weight = self.conv.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) + self.other(x)

    model = seeded(lambda: Classified(Shared()))
    running = prepared(model, images())
    assert running.how == "1 batch norms folded, channels_last"
    assert_answers_agree(model, running, images(5))

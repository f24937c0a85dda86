"""What tests of explanations share: models that look at a known place, and what a model is like before and after."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pytest_robustness.errors import InputError


def classes(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def points_into(heat: torch.Tensor, top: int, left: int, size: int) -> bool:
    """Whether the largest value of the heat (h, w) lies in this square and nowhere else."""
    places = (heat == heat.max()).nonzero()
    inside = (places >= torch.tensor([top, left])) & (places < torch.tensor([top + size, left + size]))
    return bool(inside.all())


def dim_noise(n: int, side: int) -> torch.Tensor:
    return 0.2 * torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(side))


def patchwork(n: int, side: int = 32) -> torch.Tensor:
    """Soft patches of colour with fine noise on them, of which superpixels can be made."""
    generator = torch.Generator().manual_seed(n * side)
    patches = torch.rand(n, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(patches, (side, side), mode="bilinear")
    return (0.9 * smooth + 0.1 * torch.rand(n, 3, side, side, generator=generator)).clamp(0, 1)


class Block:
    """Class 1 rests on one square of the image alone: by its mean brightness, or by how uneven it is."""

    def __init__(self, top: int, left: int, size: int, *, by: str = "mean") -> None:
        self.top, self.left, self.size, self.by = top, left, size, by

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        block = images[..., self.top : self.top + self.size, self.left : self.left + self.size].flatten(1)
        seen = block.mean(1) if self.by == "mean" else 4 * block.std(1)
        return torch.stack([torch.zeros_like(seen), 8 * seen - 4], 1)


class Colours(nn.Module):
    """Class 0 rests on red and class 1 on green, seen in squares of 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4), nn.ReLU())
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            channels = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
            self.stage[0].weight.copy_(channels.reshape(2, 3, 1, 1).expand(2, 3, 4, 4) / 16)
            self.stage[0].bias.fill_(-0.3)
            self.head.weight.copy_(torch.eye(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stage(images).mean((2, 3)))
        return logits


class Learning(nn.Module):
    """Three classes by convolutions, with a norm and a dropout, as a user has it in the middle of training."""

    def __init__(self, fails: Callable[[int], bool] = lambda call: False) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.dropout, self.head, self.fails, self.calls = nn.Dropout(0.5), nn.Linear(6, 3), fails, 0
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(number))
        self.stage[0].weight.requires_grad = False
        self.stage[1].eval()
        self.head.weight.grad = torch.ones(3, 6)
        self.head.register_forward_hook(lambda module, args, output: None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.fails(self.calls):
            raise RuntimeError("out of order")
        logits: torch.Tensor = self.head(self.dropout(self.stage(images).mean((2, 3))))
        return logits


def state(model: nn.Module) -> list[object]:
    """All that a run could leave behind in the model: modes, hooks, gradients and values."""
    modules = [
        (module.training, *map(tuple, (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)))
        for module in model.modules()
    ]
    parameters = [
        (p.requires_grad, None if p.grad is None else p.grad.tolist(), p.tolist()) for p in model.parameters()
    ]
    return [*modules, *parameters, *(buffer.tolist() for buffer in model.buffers())]


def refused(message: str, call: Callable[[], Any]) -> None:
    """Whether the call is refused with exactly this sentence."""
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message

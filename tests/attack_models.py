"""What tests of attacks share: models whose weak points are known in closed form, and calls of attacks on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.attacks import Miss
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Goal, Loss, Norm

Model: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def streams(n: int, seed: int = 0) -> Streams:
    return Streams(seed, "test", tuple(f"{row}.png" for row in range(n)))


def noise_images(n: int, size: int = 6) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def accepted(labels: list[int], k: int) -> torch.Tensor:
    return F.one_hot(torch.tensor(labels), k).bool()


@dataclass(frozen=True)
class Shown:
    """A model as a defense is given it: it takes so many images at a time, and remembers which rows they are of."""

    model: Model
    at_a_time: int = 100
    rows: torch.Tensor | None = None

    def select(self, rows: torch.Tensor) -> "Shown":
        return Shown(self.model, self.at_a_time, rows if self.rows is None else self.rows[rows])

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert len(images) <= self.at_a_time
        assert self.rows is None or len(self.rows) == len(images)
        return self.model(images)


class Linear:
    """Two classes; class 0 leads by a margin of scale * (w . (x - 1/2) + bias), and every call is remembered."""

    def __init__(self, *, scale: float = 1.0, bias: float = 0.5, size: int = 6) -> None:
        self.weight = torch.randn(3, size, size, generator=torch.Generator().manual_seed(1))
        self.scale, self.bias = scale, bias
        self.seen: list[torch.Tensor] = []

    def margin(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * ((self.weight * (images - 0.5)).sum((1, 2, 3)) + self.bias)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.detach().clone())
        margin = self.margin(images)
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    def distance(self, images: torch.Tensor, norm: Norm) -> torch.Tensor:
        """How far each image is from the other class: margin / ||w||_1 in Linf, margin / ||w||_2 in L2."""
        return self.margin(images) / self.scale / self.weight.norm(p=1 if norm == "linf" else 2)


def near_grey(n: int = 6) -> torch.Tensor:
    """Images so near to 1/2 that no step towards the other class meets 0 or 1."""
    return 0.5 + 0.02 * (noise_images(n) - 0.5)


def convnet(classes: int = 3) -> nn.Module:
    """A small convolutional network with fixed random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = [nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, classes)]
        model = nn.Sequential(*layers).requires_grad_(False)
    with torch.no_grad():
        model[-1].weight *= 6
    return model


@dataclass(frozen=True, eq=False)
class Endless:
    """The objective of a goal that is never reached, so that an attack climbs to the end."""

    goal: Goal

    def select(self, rows: torch.Tensor) -> "Endless":
        return Endless(self.goal.select(rows))

    def objective(self, logits: torch.Tensor, loss: Loss = "log-odds") -> torch.Tensor:
        return self.goal.objective(logits, loss)

    def reached(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(self.goal.reached(logits))

    def aims(self, logits: torch.Tensor, most: int) -> "list[Endless]":
        return [Endless(aim) for aim in self.goal.aims(logits, most)]


def attacked(
    attack: Attack, model: Model, images: torch.Tensor, epsilon: float | torch.Tensor, *, classes: int = 2
) -> torch.Tensor:
    """The images under the attack; class 0 is the accepted one."""
    strengths = torch.as_tensor(epsilon).expand(len(images))
    goal = Miss(accepted([0] * len(images), classes))
    return attack.against(model, goal, images, strengths, streams(len(images)))

"""What foreign code is let near: a model that records what it is asked, and a process that is put back as it was.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units.
"""

import contextlib
import functools
import hashlib
import random
import warnings
from collections.abc import Iterator

import numpy
import torch
from torch import nn

from pytest_robustness.attacks.problem import Problem
from pytest_robustness.norms import length
from pytest_robustness.seeding import Streams
from pytest_robustness.types import BatchClassifier, Images, Logits

__all__ = ["Recorder", "isolated", "seed_of"]

# Adding epsilon to a pixel and taking it off again is not exact, nor is the length of a difference.
_ROUNDING = 1e-6


class Recorder(nn.Module):
    """A model that answers as the problem's classifier does, and keeps the best that it is shown of every image.

    It can be differentiated through and is always in eval mode; whatever is done to its parameters is done to a
    dummy. The balls of the problem are of one radius.

    What it is shown belongs to the image in whose ball it lies: the one in the same row, where there are as many rows as
    images, else the nearest; in no ball, to the one in the same row or else the nearest, for counting alone. So images may be
    asked about in any order, some of them, or many times over; of images that are each in the other's ball, one may be credited
    with what was meant for the other, which is a point of its ball all the same. `queries` and `gradients` (n,) int64 count the
    rows that belong to each image; rows of another shape belong to none. `best` (n, c, h, w) holds what reached the goal first, else what came closest, in the ball
    and in [0, 1] up to rounding; `values` (n,) its objective, infinite where it `reached` (n,) the goal, -infinite where
    nothing was asked.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        # In a tuple: as a submodule, the model would be moved, trained and zeroed with this one.
        self._asked = (problem,)
        # Where foreign code looks for the device.
        self.dummy = nn.Parameter(problem.images.new_zeros(1), requires_grad=False)
        self.training = False
        counts = torch.zeros(len(problem.images), dtype=torch.long, device=problem.images.device)
        self.queries, self.gradients = counts, counts.clone()
        self.best = problem.images.clone()
        self.values = torch.full_like(problem.epsilons, -torch.inf)

    @property
    def reached(self) -> torch.Tensor:
        return self.values == torch.inf

    def train(self, mode: bool = True) -> "Recorder":
        """Nothing: the model stays in eval mode."""
        return self

    def __deepcopy__(self, memo: object) -> "Recorder":
        # What a copy is asked is to be recorded too.
        return self

    def forward(self, images: Images) -> Logits:
        shown = images.to(self.best)
        owners, inside = self._owners(shown.detach())
        logits = self._logits(shown, owners)
        self.queries += self._rows_of(owners)
        self._keep(shown.detach(), owners, inside, logits.detach())
        if logits.requires_grad:
            logits.register_hook(functools.partial(self._count_gradients, owners))  # type: ignore[no-untyped-call]
        return logits.to(images.device)

    def _count_gradients(self, owners: torch.Tensor, _: torch.Tensor) -> None:
        self.gradients += self._rows_of(owners)

    def _logits(self, shown: Images, owners: torch.Tensor) -> Logits:
        classifier = self._asked[0].classifier
        if not isinstance(classifier, BatchClassifier):
            return classifier(shown)
        parts = []
        for rows in torch.split(torch.arange(len(shown), device=shown.device), classifier.at_a_time):
            # It takes images for those of the batch where each is a row of its own; of others it is told no rows.
            own = owners[rows]
            paired = bool((own >= 0).all()) and len(set(own.tolist())) == len(own)
            parts.append(classifier.select(own if paired else own[:0])(shown[rows]))
        return torch.cat(parts)

    def _owners(self, shown: Images) -> tuple[torch.Tensor, torch.Tensor]:
        """The row of the image that each of these belongs to, (r,), -1 where it is none; and whether it lies in its ball."""
        problem = self._asked[0]
        images = problem.images
        owners = torch.full((len(shown),), -1, device=images.device)
        inside = torch.zeros_like(owners, dtype=torch.bool)
        if shown.shape[1:] != images.shape[1:]:
            return owners, inside
        reach = problem.epsilons[0] * (1 + 10 * _ROUNDING) + _ROUNDING
        rest = torch.arange(len(shown), device=images.device)
        aligned = len(shown) == len(images)
        if aligned:
            owners = rest.clone()
            inside = length(shown - images, problem.norm) <= reach
            rest = rest[~inside]
        if len(rest):
            # By differences: the default for many rows is a product, which can't tell small distances from 0.
            distances = torch.cdist(
                shown[rest].flatten(1),
                images.flatten(1),
                p=2 if problem.norm == "l2" else torch.inf,
                compute_mode="donot_use_mm_for_euclid_dist",
            )
            nearest = distances.min(1)
            inside[rest] = nearest.values <= reach
            owners[rest] = torch.where(inside[rest], nearest.indices, owners[rest] if aligned else nearest.indices)
        return owners, inside

    def _rows_of(self, owners: torch.Tensor) -> torch.Tensor:
        """(n,) how many rows belong to each image."""
        return torch.bincount(owners[owners >= 0], minlength=len(self.queries))

    def _keep(self, shown: Images, owners: torch.Tensor, inside: torch.Tensor, logits: Logits) -> None:
        in_range = ((shown >= -_ROUNDING) & (shown <= 1 + _ROUNDING)).flatten(1).all(1)
        rows = (inside & in_range).nonzero().squeeze(1)
        if not len(rows):
            return
        owned = owners[rows]
        goal = self._asked[0].goal.select(owned)
        values = goal.objective(logits[rows]).masked_fill(goal.reached(logits[rows]), torch.inf)
        # The best row of each image: the first of those in order of their images, then of their values.
        order = values.argsort(descending=True, stable=True)
        order = order[owned[order].argsort(stable=True)]
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = owned[order][1:] != owned[order][:-1]
        chosen = order[first]
        better = chosen[values[chosen] > self.values[owned[chosen]]]
        self.values[owned[better]] = values[better]
        self.best[owned[better]] = shown[rows[better]]


def seed_of(streams: Streams) -> int:
    """32 bits for generators that know no streams, by the seed, the purpose and all ids of the batch together."""
    text = repr((streams.seed, streams.purpose, streams.ids)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Gradients on, and the global generators of Python, numpy and torch (CPU, CUDA) started at the seed.

    Afterwards, also after an error, they are as they were; so are the filters of warnings, numpy's handling of
    floating-point errors, and torch's grad mode and default dtype.
    """
    python, arrays, dtype = random.getstate(), numpy.random.get_state(), torch.get_default_dtype()
    # A GPU that nothing has used yet is not woken up.
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with (
        torch.random.fork_rng(devices=cuda),
        torch.enable_grad(),
        warnings.catch_warnings(),
        numpy.errstate(),
    ):
        random.seed(seed)
        numpy.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python)
            numpy.random.set_state(arrays)
            torch.set_default_dtype(dtype)

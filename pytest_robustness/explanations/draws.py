"""Masks drawn for anchors, and what they say of other anchors.

An image has K superpixels, numbered from 0. A mask (K,) bool says which of them are visible, an anchor which of them always are.
"""

from collections.abc import Generator, Sequence
from typing import TypeAlias

import torch

from pytest_robustness.explanations.hiding import Asked
from pytest_robustness.seeding import Streams

__all__ = ["Anchor", "Draws"]

Anchor: TypeAlias = tuple[int, ...]
"""Numbers of superpixels, ascending."""


class Draws:
    """The draws of one image, each from its own stream and never drawn again.

    In a draw for an anchor, every superpixel outside of it is visible with probability `p_sample`. All on the CPU, so that an
    image has the same masks on every device.
    """

    def __init__(self, p_sample: float, superpixels: int, streams: Streams) -> None:
        self.p_sample, self.superpixels, self.streams = p_sample, superpixels, streams
        self.used = 0
        self._requests = 0
        # Float, because products count: what was visible, what for, and whether the class was kept.
        self._masks, self._anchors = torch.zeros(2, 0, superpixels)
        self._hits = torch.zeros(0)

    def draw(self, anchors: Sequence[Anchor], each: int) -> Generator[Asked, torch.Tensor, torch.Tensor]:
        """So many masks for each of the anchors, one anchor after the other.

        Yields them, is sent for each whether the class was kept, (m,) bool, and returns that.
        """
        m = len(anchors) * each
        streams = self.streams.child(f"draws {self._requests}")
        self._requests += 1
        numbers = streams.uniform(torch.empty(1, m, self.superpixels + 1))[0]
        members = self._members(anchors).repeat_interleave(each, 0)
        masks = (numbers[:, :-1] < self.p_sample) | members.bool()
        self.used += m
        hits = yield Asked(masks, numbers[:, -1])
        self._masks, self._anchors = torch.cat([self._masks, masks.float()]), torch.cat([self._anchors, members])
        self._hits = torch.cat([self._hits, hits.float()])
        return hits

    def tally(self, anchors: Sequence[Anchor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hits and counts of each anchor, (a,) float64, over all draws that are as good as drawn for it.

        Those are the draws for its subsets in which all of it happens to be visible: what else is visible is independent of
        that.
        """
        members = self._members(anchors)
        visible = self._masks @ members.T == members.sum(1)
        for_subsets = self._anchors @ members.T == self._anchors.sum(1, keepdim=True)
        counting = (visible & for_subsets).double()
        return self._hits.double() @ counting, counting.sum(0)

    def _members(self, anchors: Sequence[Anchor]) -> torch.Tensor:
        """(a, K), 1 for the superpixels of each anchor."""
        members = torch.zeros(len(anchors), self.superpixels)
        for row, anchor in enumerate(anchors):
            members[row, list(anchor)] = 1
        return members

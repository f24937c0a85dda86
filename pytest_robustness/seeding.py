"""Randomness tied to (seed, purpose, image id), never to an image's place in a batch.

An image meets the same noise alone, in company, in another order and on another worker, because its
stream starts afresh from its own id. The numbers are drawn on the device of the images they are for:
CPU and GPU streams are both reproducible, and differ from each other.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

__all__ = ["Streams"]


@dataclass(frozen=True)
class Streams:
    """One independent random stream per image of a batch.

    A draw is a pure function of (seed, purpose, image id, shape): drawing twice gives the same numbers.
    Whoever needs fresh ones (a restart, a second noise) asks for a `child` with another purpose.
    """

    seed: int
    purpose: str
    ids: tuple[str, ...]

    def child(self, purpose: str) -> "Streams":
        """Streams of the same images for another purpose, independent of these."""
        return replace(self, purpose=f"{self.purpose}/{purpose}")

    def of(self, purpose: str) -> "Streams":
        """Streams of the same images that have this purpose and no other."""
        return replace(self, purpose=purpose)

    def select(self, rows: Sequence[int]) -> "Streams":
        """The streams of the images in these rows of the batch, in that order."""
        return replace(self, ids=tuple(self.ids[row] for row in rows))

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers, shape, dtype and device of `like` (n first), contiguous."""
        return self._draw(like, lambda row, generator: row.normal_(generator=generator))

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Uniform numbers in [0, 1), shape, dtype and device of `like` (n first), contiguous."""
        return self._draw(like, lambda row, generator: row.uniform_(generator=generator))

    def poisson(self, rates: torch.Tensor) -> torch.Tensor:
        """Poisson numbers with these means, shape, dtype and device of `rates` (n first), contiguous."""
        # Contiguous first, as in `_draw`: the numbers are drawn in the order of the storage.
        drawn = rates.clone(memory_format=torch.contiguous_format)
        for row, generator in zip(drawn, self._generators(rates.device), strict=True):
            row.copy_(torch.poisson(row, generator))
        return drawn

    def seeds(self) -> tuple[int, ...]:
        """A number in [0, 2^63) per image, to seed another library's generator with."""
        return tuple(_key(self.seed, self.purpose, image_id) for image_id in self.ids)

    def _draw(self, like: torch.Tensor, fill: Callable[[torch.Tensor, torch.Generator], torch.Tensor]) -> torch.Tensor:
        # Contiguous whatever the memory format of `like`: the order of the draws must not depend on it,
        # and drawing into channels_last storage is several times slower.
        drawn = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        for row, generator in zip(drawn, self._generators(like.device), strict=True):
            fill(row, generator)
        return drawn

    def _generators(self, device: torch.device) -> Iterator[torch.Generator]:
        """One per image, at the start of its stream; the next one takes its place."""
        generator = torch.Generator(device=device)
        for seed in self.seeds():
            yield generator.manual_seed(seed)


def _key(seed: int, purpose: str, image_id: str) -> int:
    """63 bits that depend on all three; a change in one gives an unrelated key."""
    text = "\0".join((str(seed), purpose, image_id)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1

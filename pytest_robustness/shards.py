"""The share of tests and images that one of several runs takes: by their names alone, so that the runs need not talk."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Shard", "items_digest"]


@dataclass(frozen=True)
class Shard:
    """The share `number`, from 1, of `of`.

    `items` is a digest of the node ids of all the tests that are shared out, on whichever shard they run: shards that differ
    in it don't belong together. It is empty where they are not known.

    Raises ValueError unless 1 <= number <= of.
    """

    number: int
    of: int
    items: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(_refusal(str(self)))

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`2/8` as the second of eight shares. Raises ValueError for anything that is none."""
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        if found is None:
            raise ValueError(_refusal(text))
        return cls(int(found[1]), int(found[2]))

    def takes(self, name: str) -> bool:
        """Whether what goes by this name, an image's id or a node id, is in this share.

        Every name is in one share of so many, whatever other names there are; as SHA-256 spreads them, shares of n names have
        about n / of each.
        """
        digest = hashlib.sha256(_bytes(name)).digest()
        return int.from_bytes(digest[:8]) % self.of == self.number - 1

    @property
    def title(self) -> str:
        """`shard 2 of 8`."""
        return f"shard {self.number} of {self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def items_digest(nodeids: Collection[str]) -> str:
    """A short digest of these node ids, whatever their order."""
    return hashlib.sha256(b"\0".join(sorted(map(_bytes, nodeids)))).hexdigest()[:12]


def _bytes(name: str) -> bytes:
    # The name of a file need not be Unicode.
    return name.encode("utf-8", "surrogatepass")


def _refusal(got: str) -> str:
    return f"expected a shard as I/N with 1 <= I <= N, such as 2/8, got {got!r}"

"""What an image is made of, read when it is needed: the bytes of a file, or those at a place in a larger one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_robustness.errors import InputError

__all__ = ["Content", "Part", "Refused"]


class Content(Protocol):
    """Where the image is read from; several threads may ask at once."""

    def read(self) -> object:
        """The bytes of an image file, or an image that `images.item_pixels` knows; InputError, naming it, where it can't be read."""


@dataclass(frozen=True)
class Part:
    """`size` bytes at `offset` of a file, which is called `name` in errors."""

    path: Path
    offset: int
    size: int
    name: str

    def read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise InputError(
                f"{self.name}: expected a file that can be read, got one that can't be ({error.strerror}); check {self.path}"
            ) from None
        if len(data) < self.size:
            raise InputError(f"{self.name}: expected {self.size} bytes, got {len(data)}; {self.path} is cut off")
        return data


@dataclass(frozen=True)
class Refused:
    """What is never opened, for this reason."""

    reason: str

    def read(self) -> bytes:
        raise InputError(self.reason)

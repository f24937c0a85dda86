"""What somebody asks for who names a model: where it is, which weights, and what is known of it beside."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_robustness.errors import InputError
from pytest_robustness.preprocessing import Interpolation, Preprocessing

__all__ = ["Declared", "Wanted"]


@dataclass(frozen=True)
class Declared:
    """What is said of a model's preprocessing, in place of what its source says; None where nothing is."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    interpolation: Interpolation | None = None

    def over(self, found: Preprocessing) -> Preprocessing:
        """What the source says, with what is declared in its place."""
        said = {name: value for name in ("mean", "std") if (value := getattr(self, name)) is not None}
        sized = {
            name: value for name in ("resize", "crop", "interpolation") if (value := getattr(self, name)) is not None
        }
        if not said and not sized:
            return found
        origin = "declared" if found.origin == "none" else f"{found.origin}, but for what is declared"
        return replace(found, **said, geometry=replace(found.geometry, **sized), origin=origin)


@dataclass(frozen=True)
class Wanted:
    """A source as one string, `scheme:name`, with what is asked of it.

    `name` is what follows the scheme, without the weights behind `@`, which are `weights`. `state` is a file of weights to take in place of
    the source's own, `sha256` what its files have to have. `classes` are the names of the outputs, empty where nobody says.
    """

    text: str
    name: str
    weights: str = ""
    state: Path | None = None
    sha256: str | None = None
    classes: tuple[str, ...] = ()
    declared: Declared = Declared()

    def preprocessing(self, found: Preprocessing) -> Preprocessing:
        """What the source says, with what is declared in its place; InputError, beginning with the source, for what can't be."""
        try:
            return self.declared.over(found)
        except InputError as error:
            raise InputError(f"{self.text}: {error}") from None

    def named(self, found: Sequence[str], outputs: int | None = None) -> tuple[str, ...]:
        """The names of the classes: those that are given, else those of the source, where there are as many as outputs.

        Raises InputError where so many were given that the model can't have them all.
        """
        names = self.classes or tuple(found)
        if outputs is not None and len(names) != outputs:
            if self.classes:
                raise InputError(
                    f"{self.text}: expected {outputs} classes, one for each output, got {len(self.classes)}; name them in the order of "
                    "the outputs"
                )
            return ()
        return names

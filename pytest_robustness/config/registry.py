"""What can be named in a file of gates: the package's public stresses, defenses and explainers, with their settings."""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_robustness
from pytest_robustness.defenses import RandomizedSmoothing
from pytest_robustness.explanations import Explainer, Segmenter
from pytest_robustness.perturbations.composing import Fixed
from pytest_robustness.types import Attack, Defense, Perturbation

__all__ = [
    "KINDS",
    "Constructor",
    "Parameter",
    "alternatives",
    "constructors",
    "kind_of",
    "kinds_of",
    "parameters_of",
    "writable",
]

KINDS: Mapping[str, str] = {
    "attack": "an attack such as FGSM",
    "perturbation": "a perturbation such as GaussianNoise",
    "part": "a perturbation such as {fixed: [GaussianBlur, 1.5]}",
    "smoothing": "a smoothing such as {RandomizedSmoothing: 0.25}",
    "defense": "a defense such as SmoothingVote",
    "explainer": "an explainer such as GradCAM",
    "segmenter": "superpixels such as Grid",
}
"""What an argument may have to be, and how a sentence asks for it."""

# What stands in the signatures of assertions and constructors, and which kinds are that.
_HINTS: Mapping[object, frozenset[str]] = {
    Attack: frozenset({"attack"}),
    Perturbation: frozenset({"perturbation"}),
    Fixed: frozenset({"part"}),
    RandomizedSmoothing: frozenset({"smoothing"}),
    Defense: frozenset({"smoothing", "defense"}),
    Explainer: frozenset({"explainer"}),
    Segmenter: frozenset({"segmenter"}),
}
_WRITTEN = frozenset({bool, int, float, str, Path, types.NoneType})
_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Parameter:
    """One argument of a function: its type, and whether it has to be given; `many` takes the rest of a list."""

    name: str
    hint: Any
    required: bool
    many: bool = False

    @property
    def whole(self) -> Any:
        """The type of all that it takes."""
        return types.GenericAlias(tuple, (self.hint, ...)) if self.many else self.hint


@dataclass(frozen=True)
class Constructor:
    """Something public that makes an object of a kind; `about` is the first line of its contract."""

    name: str
    kind: str
    call: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    about: str


def parameters_of(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """The arguments of a function or of a class's constructor, by name and in order, without `self`."""
    hints = typing.get_type_hints(vars(function)["__init__"] if isinstance(function, type) else function)
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    return {
        p.name: Parameter(p.name, hints.get(p.name, Any), p.default is p.empty and p.kind not in _MANY, p.kind in _MANY)
        for p in own
    }


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union, those of unions in it too; of any other type it alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(own for option in typing.get_args(hint) for own in alternatives(option))
    return (hint,)


def kinds_of(hint: Any) -> frozenset[str]:
    """The kinds of objects that fit a type; none where no object does."""
    return frozenset().union(*(_HINTS.get(option, frozenset()) for option in alternatives(hint)))


def kind_of(made: type) -> str | None:
    """The kind that objects of a class are, None for any other class."""
    if issubclass(made, Fixed):
        return "part"
    if issubclass(made, RandomizedSmoothing):
        return "smoothing"
    for method, kind in (("against", "attack"), ("decide", "defense"), ("explain", "explainer")):
        if hasattr(made, method):
            return kind
    if not any("__call__" in vars(base) for base in made.__mro__):
        return None
    return "perturbation" if hasattr(made, "limit") else "segmenter"


def writable(hint: Any) -> bool:
    """Whether a value of this type can be written in YAML."""
    return any(
        option in _WRITTEN
        or option in _HINTS
        or typing.get_origin(option) is typing.Literal
        or (typing.get_origin(option) not in (None, Callable) and all(map(writable, _members(option))))
        for option in alternatives(hint)
    )


def _members(hint: Any) -> Collection[Any]:
    return [own for own in typing.get_args(hint) if own is not Ellipsis]


@functools.cache
def constructors() -> Mapping[str, Constructor]:
    """All that can be named, by name: what is public, makes one of the kinds, and needs nothing that YAML can't say."""
    found = {}
    for name in pytest_robustness.__all__:
        call = getattr(pytest_robustness, name)
        made = call if isinstance(call, type) else typing.get_type_hints(call).get("return")
        kind = kind_of(made) if isinstance(made, type) and dataclasses.is_dataclass(made) else None
        if kind is None:
            continue
        parameters = parameters_of(call)
        if all(writable(own.hint) for own in parameters.values() if own.required):
            about = (inspect.getdoc(call) or "").partition("\n")[0]
            found[name] = Constructor(name, kind, call, parameters, about)
    return found

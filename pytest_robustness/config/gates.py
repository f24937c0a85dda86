"""Gates as a file has them: each is an assertion of `Robustness` with its arguments, found by its signature."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_robustness.cases import case_of
from pytest_robustness.config.reading import Entry, Node, described, gathered, listed, unknown
from pytest_robustness.config.registry import Parameter, parameters_of
from pytest_robustness.config.values import arguments_of, value_of
from pytest_robustness.doubts import checked_waivers
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import LabelledImage
from pytest_robustness.robustness import Robustness
from pytest_robustness.types import Defense

__all__ = ["COMMON", "Gate", "Kind", "Marker", "clean_name", "gate_of", "kinds"]

_PREFIX = "assert_"
# Which images: told by patterns, whatever the assertion calls it.
_CHOICES = ("image", "images")


@dataclass(frozen=True)
class Kind:
    """An assertion: `parameters` without those that choose images, and `about`, the first line of its contract.

    One that is `per_image` becomes a test for each image; one that `chooses` may be about some of the images.
    """

    name: str
    parameters: Mapping[str, Parameter]
    per_image: bool
    chooses: bool
    about: str


@functools.cache
def kinds() -> Mapping[str, Kind]:
    """All assertions of `Robustness` by name, without `assert_`."""
    found = {}
    for method, function in inspect.getmembers(Robustness, inspect.isfunction):
        if method.startswith(_PREFIX):
            parameters = parameters_of(function)
            found[method.removeprefix(_PREFIX)] = Kind(
                method.removeprefix(_PREFIX),
                {name: own for name, own in parameters.items() if name not in _CHOICES},
                per_image=next(iter(parameters)) == "image",
                chooses=not {*_CHOICES}.isdisjoint(parameters),
                about=(inspect.getdoc(function) or "").partition("\n")[0],
            )
    return found


COMMON: Mapping[str, str] = {
    "assert": "which assertion it is",
    "behind": "a defense that the model is behind",
    "images": "which images it is about: a pattern or a list of patterns over their paths inside the set",
    "markers": "markers of pytest: names, or {xfail: {reason: why}}",
    "shard": "pairs: judge it on every shard, each time with the pairs of the shard's images",
    "waive": "which checks of an attack don't count, each with the reason",
}
"""What every gate may say beside the arguments of its assertion."""


@dataclass(frozen=True)
class Marker:
    """A marker of pytest with its arguments, and where it is written."""

    name: str
    arguments: tuple[Any, ...]
    settings: Mapping[str, Any]
    node: Node


@dataclass(frozen=True)
class Gate:
    """One gate: what it asserts, about which images, and where it is written.

    `said` is for the marker `robustness`: the images of a gate that is `per_image`, waivers, the shard. `images` are the patterns
    of one that is not, None for all.
    """

    name: str
    kind: Kind
    arguments: Mapping[str, Any]
    behind: Defense | None
    images: tuple[str, ...] | None
    said: Mapping[str, Any]
    markers: tuple[Marker, ...]
    node: Node

    def judge(self, robustness: Robustness, images: LabelledImage | Sequence[LabelledImage] | None) -> None:
        """Assert it, of these images, of all without any. Raises what the assertion does."""
        asked = robustness if self.behind is None else robustness.behind(self.behind)
        assertion: Callable[..., None] = getattr(asked, f"{_PREFIX}{self.kind.name}")
        chosen = {} if images is None else {"image" if self.kind.per_image else "images": images}
        assertion(**chosen, **self.arguments)


def clean_name(name: str) -> str:
    """The name of a gate as part of a test's id: letters, digits, `_`, `.`, `-`."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def gate_of(name: str, entry: Entry) -> Gate:
    """The gate that stands beside a name. Raises Refused for all that is wrong with it."""
    entries = entry.value.mapping("a gate, such as {assert: accuracy, stress: FGSM, strength: 2/255, at_least: 0.4}")
    if "assert" not in entries:
        for own, wrong in entries.items():
            if own not in COMMON and (near := unknown(own, ["assert"])).startswith("; did"):
                raise wrong.key.refused(f"a gate has no key {own!r}{near}")
        raise entry.key.refused(f"{name}: expected assert, which is {listed(sorted(kinds()))}, got none")
    kind = _kind(entries["assert"].value)
    common = {key: own for key, own in entries.items() if key in COMMON}
    rest = {key: own for key, own in entries.items() if key not in COMMON}
    also = [key for key in COMMON if key != "images" or kind.chooses]
    steps: Mapping[str, Callable[[], Any]] = {
        "name": lambda: _checked_name(name, entry.key),
        "arguments": lambda: _in_range(
            arguments_of(rest, kind.parameters, kind.name, entry.key, word="argument", also=also), rest
        ),
        "behind": lambda: _given(common, "behind", Defense),
        "images": lambda: _images(common, kind),
        "markers": lambda: _markers(common),
        "said": lambda: _said(common, kind),
    }
    made = dict(zip(steps, gathered(steps.values()), strict=True))
    images, said = made["images"], made["said"]
    if kind.per_image and images is not None:
        said = {"images": list(images), **said}
    return Gate(
        name=made["name"],
        kind=kind,
        arguments=made["arguments"],
        behind=made["behind"],
        images=None if kind.per_image else images,
        said=said,
        markers=made["markers"],
        node=entry.key,
    )


def _checked_name(name: str, key: Node) -> str:
    """The name as part of a test's id, where pytest has no other use for it."""
    clean = clean_name(name)
    taken = clean.startswith(("_", "pytest")) or clean.lower().replace("_", "") in ("setupmodule", "teardownmodule")
    if not clean or taken or clean in ("setup_function", "teardown_function"):
        raise key.refused(f"expected the name of a gate, got {name!r}, which means something else; call it otherwise")
    return clean


def _kind(node: Node) -> Kind:
    name = node.value
    if not isinstance(name, str):
        raise node.refused(f"assert: expected {listed(sorted(kinds()))}, got {described(node)}")
    if name.removeprefix(_PREFIX) in kinds() and name.startswith(_PREFIX):
        raise node.refused(f"assert: expected {name.removeprefix(_PREFIX)}, got {name!r}; leave out the prefix")
    if name not in kinds():
        raise node.refused(f"no assertion is called {name!r}{unknown(name, kinds())}")
    return kinds()[name]


def _in_range(arguments: dict[str, Any], entries: Mapping[str, Entry]) -> Mapping[str, Any]:
    """The arguments, where the strength is one that the stress has: else every image of the gate would tell it."""
    stress = arguments.get("stress", arguments.get("attack"))
    for name in ("strength", "epsilon"):
        if name in arguments:
            try:
                case_of(stress, arguments[name], None)
            except InputError as error:
                raise entries[name].value.refused(f"{name}: {error}") from None
    return arguments


def _given(common: Mapping[str, Entry], name: str, hint: Any) -> Any:
    return value_of(common[name].value, hint, name) if name in common and common[name].value.value is not None else None


def _images(common: Mapping[str, Entry], kind: Kind) -> tuple[str, ...] | None:
    if "images" not in common:
        return None
    if not kind.chooses:
        raise common["images"].key.refused(f"{kind.name} is about all images, got images; leave it out")
    given = value_of(common["images"].value, str | Sequence[str] | None, "images")
    return (given,) if isinstance(given, str) else given


def _said(common: Mapping[str, Entry], kind: Kind) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if "waive" in common:
        node = common["waive"].value
        waive = value_of(node, Mapping[str, str], "waive")
        try:
            said["waive"] = checked_waivers(waive)
        except InputError as error:
            raise node.refused(str(error)) from None
    if "shard" in common:
        said["shard"] = value_of(common["shard"].value, Literal["pairs"], "shard")
        if kind.per_image:
            raise common["shard"].key.refused(f"{kind.name} runs on the shard of its image, got shard; leave it out")
    return said


def _markers(common: Mapping[str, Entry]) -> tuple[Marker, ...]:
    if "markers" not in common:
        return ()
    given = common["markers"].value
    return tuple(map(_marker, given.value if isinstance(given.value, tuple) else (given,)))


def _marker(node: Node) -> Marker:
    arguments: tuple[Any, ...] = ()
    settings: Mapping[str, Any] = {}
    name = node.value
    if isinstance(name, Mapping) and len(name) == 1:
        ((name, entry),) = name.items()
        plain = _plain(entry.value)
        settings = plain if isinstance(plain, dict) else {}
        arguments = () if isinstance(plain, dict) else tuple(plain) if isinstance(plain, list) else (plain,)
    if not isinstance(name, str) or not name.isidentifier():
        raise node.refused(f"markers: expected the name of a marker, or {{name: arguments}}, got {described(node)}")
    if name in ("parametrize", "robustness"):
        raise node.refused(f"markers: expected a marker that leaves the images alone, got {name!r}; leave it out")
    return Marker(name, arguments, settings, node)


def _plain(node: Node) -> Any:
    if isinstance(node.value, tuple):
        return [_plain(own) for own in node.value]
    if isinstance(node.value, Mapping):
        return {name: _plain(entry.value) for name, entry in node.value.items()}
    return node.value

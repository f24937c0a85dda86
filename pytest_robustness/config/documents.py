"""A file of gates as a whole: whose gates they are, of which model and which images."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_robustness.config.extending import extended
from pytest_robustness.config.gates import Gate, gate_of
from pytest_robustness.config.options import options_of, run_options
from pytest_robustness.config.reading import Entry, Node, described, gathered, unknown
from pytest_robustness.config.registry import Parameter, parameters_of
from pytest_robustness.config.values import arguments_of
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.image_sources import image_source
from pytest_robustness.loading import labelled_images
from pytest_robustness.models import LoadedModel, load_model
from pytest_robustness.records import path_text
from pytest_robustness.settings import Written

__all__ = ["SECTIONS", "Document", "Source", "image_settings", "model_settings", "read_document", "read_sources"]

SECTIONS: Mapping[str, str] = {
    "extends": "files, relative to this one, that this one adds to: a path or a list of paths",
    "model": "the model to judge: a source, or a mapping with it; without it the fixture robustness_model is",
    "images": "the images to judge it on: a source, or a mapping with it; without it those of the fixture robustness_images are",
    "gates": "what the model has to withstand: gates by name",
}
"""What a file may have beside the options of the run."""


@dataclass(frozen=True)
class Source:
    """Where a model or images are from, as it is written: `load` gets them."""

    load: Callable[[], Any]
    node: Node


@dataclass(frozen=True)
class Document:
    """What a file of gates says; of a model or images that it doesn't have, None. `options` are by their names on the command line."""

    options: Mapping[str, Written]
    model: Source | None
    images: Source | None
    gates: Sequence[Gate]


def model_settings() -> Mapping[str, Parameter]:
    """What can be said of a model."""
    return parameters_of(load_model)


def image_settings() -> Mapping[str, Parameter]:
    """What can be said of images."""
    _, *rest = parameters_of(image_source).values()
    labels = parameters_of(labelled_images)["labels"]
    source = Parameter("source", str | Path | Sequence[str | Path], required=True)
    own = [source, *rest, Parameter("labels", labels.hint, required=False)]
    return {parameter.name: parameter for parameter in own}


def read_document(path: Path) -> Document:
    """The file with what it extends. Raises Refused for all that is wrong with it."""
    root = extended(path)
    entries = root.mapping("a mapping with gates")
    steps: Sequence[Callable[[], Any]] = [
        functools.partial(_check_keys, entries),
        functools.partial(options_of, entries),
        functools.partial(_model, entries),
        functools.partial(_images, entries),
        functools.partial(_gates, entries, root),
    ]
    _, options, model, images, gates = gathered(steps)
    return Document(options, model, images, gates)


def read_sources(path: Path) -> Document:
    """The file with what it extends as `read_document` has it, but for its gates, which may be wrong or missing."""
    entries = extended(path).mapping("a mapping with model and images")
    steps: Sequence[Callable[[], Any]] = [
        functools.partial(options_of, entries),
        functools.partial(_model, entries),
        functools.partial(_images, entries),
    ]
    options, model, images = gathered(steps)
    return Document(options, model, images, ())


def _check_keys(entries: Mapping[str, Entry]) -> None:
    known = [*SECTIONS, *run_options()]

    def check(name: str, entry: Entry) -> None:
        if name not in known:
            raise entry.key.refused(f"a file of gates has no key {name!r}{unknown(name, known)}")

    gathered(functools.partial(check, *item) for item in entries.items())


def _gates(entries: Mapping[str, Entry], root: Node) -> Sequence[Gate]:
    if "gates" not in entries or not entries["gates"].value.value:
        at = entries["gates"].key if "gates" in entries else root
        raise at.refused("expected gates, by name, got none: a file without a gate would pass every model")
    found = entries["gates"].value.mapping("gates by name")
    gates = gathered(functools.partial(gate_of, *item) for item in found.items())
    first: dict[str, Gate] = {}

    def alone(gate: Gate) -> None:
        other = first.setdefault(gate.name, gate)
        if other is not gate:
            raise gate.node.refused(
                f"expected names that differ in letters and digits, got {gate.name!r} as on line {other.node.line}; "
                "rename one of them"
            )

    gathered(functools.partial(alone, gate) for gate in gates)
    return gates


def _settings(entries: Mapping[str, Entry], name: str, parameters: Mapping[str, Parameter]) -> dict[str, Any] | None:
    entry = entries.get(name)
    if entry is None or entry.value.value is None:
        return None
    node = entry.value
    given = {"source": Entry(node, node)} if isinstance(node.value, str) else node.value
    if not isinstance(given, Mapping):
        raise node.refused(f"{name}: expected a source, or a mapping with it, got {described(node)}")
    return arguments_of(given, parameters, name, entry.key, word="setting")


def _model(entries: Mapping[str, Entry]) -> Source | None:
    given = _settings(entries, "model", model_settings())
    if given is None:
        return None
    node = entries["model"].value
    given["source"] = _beside(given["source"], node.file.parent)
    return Source(functools.partial(_load, load_model, given), node)


def _load(function: Callable[..., LoadedModel], given: Mapping[str, Any]) -> LoadedModel:
    return function(**given)


def _beside(source: str, folder: Path) -> str:
    """The source with the path in it, where it has one, as relative to the file that it is written in."""
    scheme, colon, rest = source.partition(":")
    for before, path in (("", source), (scheme + colon, rest)):
        if path and (folder / path).exists():
            return before + path_text(folder / path)
    return source


def _images(entries: Mapping[str, Entry]) -> Source | None:
    given = _settings(entries, "images", image_settings())
    return None if given is None else Source(functools.partial(_image_set, given), entries["images"].value)


def _image_set(given: Mapping[str, Any]) -> ImageSet:
    """The images that the settings are about."""
    settings = {name: value for name, value in given.items() if name != "source"}
    if "labels" not in settings:
        return image_source(given["source"], **settings)
    return labelled_images(given["source"], settings.pop("labels"), **settings)

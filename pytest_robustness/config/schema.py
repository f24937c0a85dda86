"""The JSON Schema of files of gates, for editors: made of the signatures that such a file is read by.

What a key means is the first line of the contract of what it names.
"""

import collections.abc
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_robustness.config.documents import SECTIONS, image_settings, model_settings
from pytest_robustness.config.gates import COMMON, Kind, kinds
from pytest_robustness.config.options import run_options
from pytest_robustness.config.registry import KINDS, Constructor, Parameter, alternatives, constructors, kinds_of
from pytest_robustness.config.values import FRACTION, REFERENCE
from pytest_robustness.corruptions import COMMON as COMMON_CORRUPTIONS
from pytest_robustness.corruptions import EXTRA
from pytest_robustness.doubts import CHECKS
from pytest_robustness.settings import Flag, Option
from pytest_robustness.types import Defense

__all__ = ["config_schema", "config_schema_text"]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_NUMBER = {"$ref": "#/definitions/number"}


def config_schema_text() -> str:
    """The schema as it is published: the same bytes for the same version."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


def config_schema() -> dict[str, Any]:
    """The JSON Schema (draft-07, which editors know) of `robustness.yaml`."""
    properties = {
        "extends": _described(_TEXTS, SECTIONS["extends"]),
        "model": _described(_source(model_settings()), SECTIONS["model"]),
        "images": _described(_source(image_settings()), SECTIONS["images"]),
        **{name: _option(own) for name, own in run_options().items()},
        "gates": {"description": SECTIONS["gates"], "type": "object"},
    }
    whole = {"minProperties": 1, "additionalProperties": {"$ref": "#/definitions/gate"}}
    part = {"additionalProperties": {"type": ["object", "null"], "properties": _referred(COMMON)}}
    return {
        "$schema": _DRAFT,
        "title": "robustness.yaml",
        "description": "Gates of pytest-robustness: what an image classifier has to withstand.",
        "type": "object",
        "properties": {name: _nullable(own) if name != "gates" else own for name, own in properties.items()},
        "additionalProperties": False,
        # What a file adds to may be in the other file.
        "if": {"required": ["extends"]},
        "then": {"properties": {"gates": part}},
        "else": {"properties": {"gates": whole}, "required": ["gates"]},
        "definitions": {
            "number": {
                "description": "a number, a fraction such as 2/255 or a share such as 25 %",
                "anyOf": [{"type": "number"}, {"type": "string", "pattern": FRACTION}],
            },
            "gate": _gate(),
            **{kind: _kind(kind) for kind in KINDS},
            **{name: _settings(own) for name, own in constructors().items()},
        },
    }


def _described(schema: Mapping[str, Any], about: str) -> dict[str, Any]:
    return {"description": about, **schema}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    about = schema.pop("description")
    return {"description": about, "anyOf": [schema, {"type": "null"}]}


def _option(option: Option | Flag) -> dict[str, Any]:
    if isinstance(option, Flag):
        return {"description": option.help, "type": "boolean"}
    return {"description": option.help, "type": ["string", "number"]}


def _source(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, _object(parameters.values())]}


def _object(parameters: Iterable[Parameter], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    own = list(parameters)
    return {
        "type": "object",
        "properties": {**{p.name: _argument(p) for p in own}, **(more or {})},
        "required": [p.name for p in own if p.required],
        "additionalProperties": False,
    }


def _argument(parameter: Parameter) -> dict[str, Any]:
    """The schema of an argument; of a corruption's name, those that there are."""
    names = {"enum": [*COMMON_CORRUPTIONS, *EXTRA]}
    known: Mapping[str, dict[str, Any]] = {
        "corruption": names,
        "corruptions": {"type": "array", "items": names},
    }
    return known.get(parameter.name) or _value(parameter.whole)


def _common() -> dict[str, Any]:
    """What every gate may say."""
    schemas: Mapping[str, Mapping[str, Any]] = {
        "assert": {"enum": sorted(kinds())},
        "behind": _value(Defense | None),
        "images": {"anyOf": [*_TEXTS["anyOf"], {"type": "null"}]},
        "markers": {"type": ["string", "object", "array"], "items": {"type": ["string", "object"]}},
        "shard": {"const": "pairs"},
        "waive": {
            "type": "object",
            "propertyNames": {"enum": list(CHECKS)},
            "additionalProperties": {"type": "string", "minLength": 1},
        },
    }
    return {name: _described(schemas[name], about) for name, about in COMMON.items()}


def _referred(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/definitions/gate/properties/{name}"} for name in names}


def _fit(kind: Kind) -> list[str]:
    """What a gate of this kind may say beside its arguments."""
    unfit = {"shard"} if kind.per_image else set() if kind.chooses else {"images"}
    return [name for name in COMMON if name not in unfit]


def _gate() -> dict[str, Any]:
    cases = []
    for name, kind in sorted(kinds().items()):
        chosen = {"properties": {"assert": {"const": name}}, "required": ["assert"]}
        then = {"description": kind.about, **_object(kind.parameters.values(), _referred(_fit(kind)))}
        cases.append({"if": chosen, "then": then})
    return {"type": "object", "properties": _common(), "required": ["assert"], "allOf": cases}


def _kind(kind: str) -> dict[str, Any]:
    """An object of this kind: by its name, by its name with settings, or of the user's own."""
    own = [constructor for constructor in constructors().values() if constructor.kind == kind]
    bare = [c for c in own if not any(p.required for p in c.parameters.values())]
    names = [{"const": c.name, "description": c.about} for c in bare]
    called = {
        "type": "object",
        "properties": {c.name: {"$ref": f"#/definitions/{c.name}"} for c in own},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    return {"anyOf": [*names, called, {"type": "string", "pattern": REFERENCE}]}


def _settings(constructor: Constructor) -> dict[str, Any]:
    """The settings by name, as a list in their order, or the first one alone."""
    parameters = list(constructor.parameters.values())
    options: list[dict[str, Any]] = [_object(parameters), {"type": "null"}]
    if parameters:
        first = parameters[0]
        single = [_value(own.hint) for own in parameters if not own.many]
        rest: list[Any] = [_value(own.hint) for own in parameters if own.many]
        more = rest[0] if rest else False
        listed = {"type": "array", **({"items": single, "additionalItems": more} if single else {"items": more})}
        options += [listed] if first.many else [_value(first.hint), listed]
    return {"description": constructor.about, "anyOf": options}


def _value(hint: Any) -> dict[str, Any]:
    """The schema of a value that is read as this type."""
    found: list[dict[str, Any]] = [{"$ref": f"#/definitions/{kind}"} for kind in KINDS if kind in kinds_of(hint)]
    for option in alternatives(hint):
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is typing.Literal:
            found.append({"enum": list(arguments)})
        elif origin is collections.abc.Callable:
            found.append({"type": "string", "pattern": REFERENCE})
        elif origin is collections.abc.Mapping:
            found.append({"type": "object", "minProperties": 1, "additionalProperties": _value(arguments[1])})
        elif origin is tuple and arguments[1:] != (...,):
            each = [_value(own) for own in arguments]
            found.append({"type": "array", "items": each, "minItems": len(each), "maxItems": len(each)})
        elif origin in (tuple, list, collections.abc.Sequence, collections.abc.Collection):
            found.append({"type": "array", "items": _value(arguments[0])})
        elif option in _PLAIN:
            found.append(dict(_PLAIN[option]))
    unique = list({json.dumps(own): own for own in found}.values())
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: _NUMBER,
    str: {"type": "string"},
    Path: {"type": "string"},
    types.NoneType: {"type": "null"},
}

"""The JSON Schema of results documents, made of the records that they are written from.

What a field means stands in the docstring of its record, which is the description of its schema.
"""

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from pytest_robustness.comparisons import Comparison
from pytest_robustness.records import Provenance, Verdict
from pytest_robustness.results import SCHEMA, Results
from pytest_robustness.shards import Shard

__all__ = ["results_schema", "schema_text"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Mapping[object, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def schema_text() -> str:
    """The schema as it is published: the same bytes for the same version."""
    return json.dumps(results_schema(), indent=1, ensure_ascii=False) + "\n"


def results_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what `Results.to_json` writes."""
    found: dict[str, Any] = {}
    properties = {
        "schema": {"const": SCHEMA},
        "complete": {"type": "boolean"},
        "profile": {"type": "string"},
        "shard": _schema(Shard, found),
        "comparison": _schema(Comparison, found),
        "runs": {"type": "object", "additionalProperties": _schema(Provenance, found)},
        "verdicts": {"type": "array", "items": _schema(Verdict, found)},
    }
    return {
        "$schema": _DRAFT,
        "title": "Results of pytest-robustness",
        "description": f"{inspect.getdoc(Results)}\n\n`runs` has the provenances by the keys that verdicts refer to.",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in ("shard", "comparison")],
        "additionalProperties": False,
        "$defs": dict(sorted(found.items())),
    }


def _schema(hint: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value of this type; those of the records that it holds are added to `found`."""
    if dataclasses.is_dataclass(hint):
        return _reference(typing.cast(type, hint), found)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(option, found) for option in arguments]}
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _schema(arguments[0], found)}
    if origin is tuple:
        each = [_schema(item, found) for item in arguments]
        return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
    return {"type": _PLAIN[hint]}


def _reference(record: type, found: dict[str, Any]) -> dict[str, Any]:
    name = record.__name__
    if name not in found:
        found[name] = {}
        hints = typing.get_type_hints(record)
        fields = [field.name for field in dataclasses.fields(record)]
        found[name] = {
            "description": inspect.getdoc(record),
            "type": "object",
            "properties": {field: _schema(hints[field], found) for field in fields},
            "required": fields,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}

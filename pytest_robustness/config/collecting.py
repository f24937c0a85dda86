"""A file of gates as pytest's collector: a module that is not on disk, with a test for each gate and the fixtures behind them.

So whatever pytest and its plugins do with tests is done with gates: parametrisation, `-k`, `--lf`, markers, distribution, reports.
"""

import functools
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robustness.choosing import matching
from pytest_robustness.config import given_files
from pytest_robustness.config.documents import Document, Source, read_document
from pytest_robustness.config.gates import Gate, Marker
from pytest_robustness.config.options import agreed_options
from pytest_robustness.config.reading import Node, Refused
from pytest_robustness.errors import InputError
from pytest_robustness.settings import Settings, Written

if TYPE_CHECKING:
    from pytest_robustness.image_sets import LabelledImage
    from pytest_robustness.robustness import Robustness

__all__ = ["GateFile"]


class GateFile(pytest.Module):
    """A file of gates."""

    def _getobj(self) -> types.ModuleType:
        self._make_importable()
        try:
            document = read_document(self.path)
            self._check_options(document.options)
            return _module(self.path.name, document)
        except (InputError, pytest.UsageError) as error:
            raise self.CollectError(str(error)) from None

    def _make_importable(self) -> None:
        """Let the file's folder be one to import from, as pytest does for a module of tests."""
        folder, mode = str(self.path.parent), self.config.getoption("importmode")
        if mode != "importlib" and folder not in sys.path:
            sys.path.insert(0 if mode == "prepend" else len(sys.path), folder)

    def _check_options(self, options: Mapping[str, Written]) -> None:
        """Refuse options that don't hold: those of a file that pytest came across, when the run had begun."""
        given = given_files(self.config.args, self.config.invocation_params.dir)
        if not options or self.path in given:
            return
        agreed = agreed_options(given)
        held = Settings.of(self.config, agreed)
        lost = [own for name, own in options.items() if Settings.of(self.config, {**agreed, name: own}) != held]
        if lost:
            raise Refused(
                *(
                    f"{own.where}: expected what holds for the whole run, got {own.text} in a file that pytest came across; give pytest "
                    "the file or its folder, or say it in the ini file"
                    for own in lost
                )
            )


def _module(name: str, document: Document) -> types.ModuleType:
    module = types.ModuleType(name)
    for fixture, source in (("robustness_model", document.model), ("robustness_images", document.images)):
        if source is not None:
            # No gate can have a name with a space in it.
            setattr(module, f"the {fixture}", _fixture(fixture, source))
    for gate in document.gates:
        test = _test(gate)
        test.__module__ = name
        setattr(module, gate.name, test)
    return module


def _fixture(name: str, source: Source) -> Any:
    return pytest.fixture(scope="session", name=name)(
        # Images are asked for twice: to make their tests, and to run them.
        _placed("return call()", (), functools.cache(source.load), source.node)
    )


def _test(gate: Gate) -> Any:
    if gate.kind.per_image:
        arguments: Sequence[str] = ("robustness", "robustness_image")
        test = _placed("call(robustness, robustness_image)", arguments, gate.judge, gate.node)
    else:

        def call(robustness: "Robustness") -> None:
            gate.judge(robustness, _chosen(gate, robustness))

        test = _placed("call(robustness)", ("robustness",), call, gate.node)
    test.__name__ = test.__qualname__ = gate.name
    # Whatever it is called, it is a test.
    test.__test__ = True  # type: ignore[attr-defined]
    for marker in gate.markers:
        _mark(test, marker)
    return pytest.mark.robustness(**gate.said)(test)


def _chosen(gate: Gate, robustness: "Robustness") -> "Sequence[LabelledImage] | None":
    if gate.images is None:
        return None
    return matching(robustness.engine.images, gate.name, {"images": list(gate.images)})


def _mark(test: Callable[..., None], marker: Marker) -> None:
    try:
        mark = getattr(pytest.mark, marker.name)
    except pytest.fail.Exception as error:
        raise marker.node.refused(f"markers: {error}; declare it in the ini file, under markers") from None
    mark.with_args(*marker.arguments, **marker.settings)(test)


def _placed(body: str, arguments: Sequence[str], call: Callable[..., Any], node: Node) -> types.FunctionType:
    """A function that is on the node's line of its file, so that what fails in it is told to be there."""
    source = "\n" * (node.line - 1) + f"def placed({', '.join(arguments)}): {body}"
    names: dict[str, Any] = {"call": call}
    exec(compile(source, str(node.file), "exec"), names)
    placed: types.FunctionType = names["placed"]
    return placed

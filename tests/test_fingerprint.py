"""The digest by which answers are found again: another one for whatever may answer otherwise, else the same one anywhere."""

import builtins
import collections
import copy
import dataclasses
import enum
import functools
import importlib
import importlib.metadata
import io
import itertools
import os
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import sources
from pytest_robustness.fingerprint import Unknown, code_digest, digest, weights_digest


class Net(nn.Module):
    """A model with all that one can hold: weights, buffers, attributes, parts and hooks."""

    size = 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.scale = 2.0
        self.steps = ["a", {"b": (1, None)}]
        self.register_forward_hook(nothing)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(108).reshape(4, 3, 3, 3) / 108)
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * self.norm(self.conv(images - self.mean[:, None, None]))


def nothing(*_: object) -> None:
    """A hook."""


def something(*_: object) -> int:
    return 1


@pytest.fixture
def values_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests without the source files, which take longest to read and are the same here."""
    monkeypatch.setattr("pytest_robustness.fingerprint._code", lambda modules: b"")


def one_bit(model: Net) -> None:
    model.conv.weight.data.view(torch.int32)[3, 2, 2, 2] ^= 1


CHANGES: dict[str, Callable[[Net], object]] = {
    "one bit of a weight": one_bit,
    "weight": lambda model: model.conv.weight.data[0].mul_(-1),
    "buffer": lambda model: model.mean.add_(1e-7),
    "buffer outside of the state": lambda model: model.scratch.add_(1),
    "statistics": lambda model: model.norm.running_var.mul_(2),
    "dtype": lambda model: model.to(torch.float64),
    "dtype of the same bytes": lambda model: setattr(model, "mean", model.mean.view(torch.int32)),
    "shape of the same bytes": lambda model: setattr(model, "mean", model.mean[None]),
    "sign of a zero": lambda model: model.mean.neg_(),
    "number": lambda model: setattr(model, "scale", 2.0000000000000004),
    "kind of number": lambda model: setattr(model, "scale", 2),
    "list": lambda model: model.steps.append("c"),
    "dictionary": lambda model: model.steps[1].update(b=(1, 0)),
    "new attribute": lambda model: setattr(model, "other", None),
    "attribute of a part": lambda model: setattr(model.conv, "padding", (1, 1)),
    "attribute of an installed class": lambda model: setattr(model.norm, "eps", 1e-3),
    "mode": lambda model: model.norm.eval(),
    "part": lambda model: setattr(model, "norm", nn.Identity()),
    "name of a part": lambda model: model._modules.update(other=model._modules.pop("norm")),
    "order of parts": lambda model: model._modules.update(conv=model._modules.pop("conv")),
    "no hook": lambda model: model._forward_hooks.clear(),
    "another hook": lambda model: model._forward_hooks.update(dict.fromkeys(model._forward_hooks, something)),
    "hook before": lambda model: model.register_forward_pre_hook(nothing),
    "second hook": lambda model: model.register_forward_hook(nothing),
    "its own forward": lambda model: setattr(model, "forward", types.MethodType(something, model)),
}


@pytest.mark.usefixtures("values_alone")
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_has_another_digest(change: str) -> None:
    model = Net()
    CHANGES[change](model)
    assert digest(model) != digest(Net())


@pytest.mark.usefixtures("values_alone")
def test_the_order_of_hooks_counts_and_their_numbers_do_not() -> None:
    def hooked(*hooks: Callable[..., object]) -> nn.Module:
        model = nn.ReLU()
        for hook in hooks:
            model.register_forward_hook(hook, with_kwargs=hook is something)
        return model

    assert digest(hooked(nothing, something)) == digest(hooked(nothing, something))
    assert digest(hooked(nothing, something)) != digest(hooked(something, nothing))
    spectral = [torch.nn.utils.spectral_norm(nn.Linear(1, 1)) for _ in range(2)]
    spectral[1].load_state_dict(spectral[0].state_dict())
    assert digest(spectral[0]) == digest(spectral[1])


def permuted(model: Net) -> Net:
    model.conv.weight.data = model.conv.weight.data.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not model.conv.weight.is_contiguous()
    return model


def loaded(model: Net) -> Net:
    state = io.BytesIO()
    torch.save(model.state_dict(), state)
    state.seek(0)
    model.conv.weight.data.zero_()
    model.load_state_dict(torch.load(state, weights_only=True))
    return model


@pytest.mark.usefixtures("values_alone")
@pytest.mark.parametrize("same", [lambda model: model, copy.deepcopy, loaded, permuted, lambda m: m.eval().train()])
def test_an_equal_model_has_an_equal_digest(same: Callable[[Net], Net]) -> None:
    assert digest(same(Net())) == digest(Net())


@pytest.mark.usefixtures("values_alone")
def test_asking_a_model_changes_no_digest_of_it() -> None:
    model = Net().eval()
    before = digest(model), weights_digest(model)
    model(torch.rand(1, 3, 4, 4)).sum().backward()
    assert (digest(model), weights_digest(model)) == before


@dataclass(frozen=True)
class Settings:
    steps: int = 3
    names: frozenset[str] = frozenset()
    weights: torch.Tensor | None = dataclasses.field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slotted:
    steps: int = 3


class Slots:
    __slots__ = ("_private", "x")

    def __init__(self, x: object) -> None:
        self.x = x


class SlotsTwice(Slots):
    __slots__ = ("x", "y")


class SlotsAndMore(Slots):
    def __init__(self, x: object, y: object) -> None:
        super().__init__(x)
        self.y = y


class Forgetful:
    """One that leaves what decides out of its pickle."""

    def __init__(self, x: object) -> None:
        self.x = x

    def __getstate__(self) -> dict[str, object]:
        return {}


class ForgetfulList(list[int], Forgetful):
    __init__ = list.__init__


class Reduced(Forgetful):
    def __reduce__(self) -> tuple[object, ...]:
        return Reduced, (0,)


class WordList(list[str]):
    rank = 0


class Table(dict[str, int]):
    pass


class Point(NamedTuple):
    x: int


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Scaled:
    """A callable object with a method to bind."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: float) -> float:
        return self.by * x

    def halved(self, x: float) -> float:
        return self.by * x / 2


class Noted(torch.Tensor):
    """A tensor that carries a note."""


def noted(note: str) -> torch.Tensor:
    tensor = torch.zeros(1).as_subclass(Noted)
    tensor.note = note  # type: ignore[attr-defined]
    return tensor


def closed(value: object) -> Callable[[], object]:
    return lambda: value


def with_default(value: object) -> Callable[..., object]:
    def function(first: object = value) -> object:
        return first

    return function


def with_keyword(value: object) -> Callable[..., object]:
    def function(*, first: object = value) -> object:
        return first

    return function


def with_attribute(value: object) -> Callable[..., object]:
    def function() -> None: ...

    function.setting = value  # type: ignore[attr-defined]
    return function


def unassigned(assign: bool) -> Callable[[], object]:
    if assign:
        value = 1
    return lambda: value


def quantized(scale: float, zero: int = 0) -> torch.Tensor:
    """Quantized to 1 and 2 units of the scale."""
    return torch.quantize_per_tensor(torch.tensor([1.0, 2.0]) * scale, scale, zero, torch.qint8)


def per_channel(scale: float) -> torch.Tensor:
    return torch.quantize_per_channel(
        torch.eye(2) * scale, torch.tensor([scale, 1.0]), torch.zeros(2, dtype=torch.int64), 0, torch.qint8
    )


def sparse(size: int, value: float = 1.0) -> torch.Tensor:
    return torch.sparse_coo_tensor([[0, 0, 1]], [value, value, 3.0], (size,), check_invariants=False)


def local_class(value: object) -> object:
    class Local:
        setting = value

        def __call__(self) -> object:
            return value

    return Local


# Two of each that answer differently: whatever is made twice is equal, and the two are not.
PAIRS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "number": (lambda: 1, lambda: 2),
    "bool and int": (lambda: 1, lambda: True),
    "text and bytes": (lambda: "a", lambda: b"a"),
    "zeros": (lambda: 0.0, lambda: -0.0),
    "nothing": (lambda: None, lambda: ()),
    "list and tuple": (lambda: [1], lambda: (1,)),
    "nesting": (lambda: [[1], 2], lambda: [[1, 2]]),
    "joined texts": (lambda: ["ab", "c"], lambda: ["a", "bc"]),
    "order of a list": (lambda: [1, 2], lambda: [2, 1]),
    "dtype": (lambda: torch.float16, lambda: torch.bfloat16),
    "range": (lambda: range(3), lambda: range(4)),
    "pattern": (lambda: re.compile("a"), lambda: re.compile("a", re.I)),
    "set": (lambda: {"a", "b"}, lambda: {"a", "c"}),
    "set of sets": (lambda: {frozenset("ab"), frozenset("c")}, lambda: {frozenset("a"), frozenset("bc")}),
    "deque": (lambda: collections.deque([1]), lambda: collections.deque([2])),
    "defaultdict": (lambda: collections.defaultdict(list, a=1), lambda: collections.defaultdict(set, a=1)),
    "ordered": (lambda: collections.OrderedDict(a=1), lambda: collections.OrderedDict(a=2)),
    "list of a kind": (lambda: WordList("ab"), lambda: WordList("ac")),
    "dict of a kind": (lambda: Table(a=1), lambda: Table(a=2)),
    "named tuple": (lambda: Point(1), lambda: Point(2)),
    "enumeration": (lambda: Colour.RED, lambda: Colour.BLUE),
    "buffer": (lambda: io.BytesIO(b"a"), lambda: io.BytesIO(b"b")),
    "bytearray": (lambda: bytearray(b"a"), lambda: bytearray(b"b")),
    "iterator": (lambda: iter([1, 2]), lambda: itertools.islice(iter([1, 2]), 1)),
    "generator of numbers": (
        lambda: torch.Generator().manual_seed(1),
        lambda: torch.Generator().manual_seed(2),
    ),
    "dataclass": (lambda: Settings(), lambda: Settings(steps=4)),
    "dataclass with a set": (lambda: Settings(names=frozenset("xyz")), lambda: Settings(names=frozenset("xy"))),
    "what its repr and == leave out": (
        lambda: Settings(weights=torch.zeros(2)),
        lambda: Settings(weights=torch.ones(2)),
    ),
    "dataclass with slots": (lambda: Slotted(), lambda: Slotted(4)),
    "slots": (lambda: Slots(1), lambda: Slots(2)),
    "slots of one name": (lambda: SlotsTwice(1), lambda: SlotsTwice(2)),
    "slots and a dictionary": (lambda: SlotsAndMore(1, 2), lambda: SlotsAndMore(1, 3)),
    "left out of a pickle": (lambda: Forgetful(1), lambda: Forgetful(2)),
    "left out by a list": (lambda: ForgetfulList([1]), lambda: ForgetfulList([2])),
    "left out by __reduce__": (lambda: Reduced(1), lambda: Reduced(2)),
    "classes": (lambda: Slotted, lambda: Slots),
    "local class": (lambda: local_class(1), lambda: local_class(2)),
    "object of a local class": (lambda: local_class(1)(), lambda: local_class(2)()),  # type: ignore[operator]
    "code": (lambda: lambda x: x + 1, lambda: lambda x: x - 1),
    "constant": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "constant set": (lambda: lambda x: x in {"a", "b"}, lambda: lambda x: x in {"a", "c"}),
    "name that is called": (lambda: lambda x: x.exp(), lambda: lambda x: x.log()),
    "code within": (lambda: lambda: lambda: 1, lambda: lambda: lambda: 2),
    "closure": (lambda: closed(1), lambda: closed(2)),
    "closure over a tensor": (lambda: closed(torch.zeros(1)), lambda: closed(torch.ones(1))),
    "closure over nothing yet": (lambda: unassigned(False), lambda: unassigned(True)),
    "default": (lambda: with_default(1), lambda: with_default(2)),
    "default of a keyword": (lambda: with_keyword(1), lambda: with_keyword(2)),
    "attribute of a function": (lambda: with_attribute(1), lambda: with_attribute(2)),
    "wrapped": (lambda: functools.wraps(nothing)(closed(1)), lambda: functools.wraps(something)(closed(1))),
    "cached": (lambda: functools.lru_cache(closed(1)), lambda: functools.lru_cache(closed(2))),
    "partial": (lambda: functools.partial(something, 1), lambda: functools.partial(something, 2)),
    "partial by keyword": (lambda: functools.partial(something, a=1), lambda: functools.partial(something, a=2)),
    "partial of another": (lambda: functools.partial(closed(1)), lambda: functools.partial(closed(2))),
    "method": (lambda: Scaled(1).halved, lambda: Scaled(1).__call__),
    "object of a method": (lambda: Scaled(1).halved, lambda: Scaled(2).halved),
    "callable object": (lambda: Scaled(1), lambda: Scaled(2)),
    "functions of a library": (lambda: torch.relu, lambda: torch.sigmoid),
    "methods of a library": (lambda: torch.Tensor.relu, lambda: torch.Tensor.sigmoid),
    "methods of a tensor": (lambda: torch.zeros(1).add, lambda: torch.ones(1).add),
    "array": (lambda: np.zeros(3), lambda: np.zeros(3, np.int64)),
    "view of an array": (lambda: np.arange(6)[::2], lambda: np.arange(3)),
    "numpy's functions": (lambda: np.exp, lambda: np.log),
    "tensor": (lambda: torch.zeros(3), lambda: torch.zeros(3, 1)),
    "tensor without values": (lambda: torch.zeros(0, 3), lambda: torch.zeros(3, 0)),
    "tensor and parameter": (lambda: torch.zeros(3), lambda: nn.Parameter(torch.zeros(3))),
    "tensor with a note": (lambda: noted("a"), lambda: noted("b")),
    "nan": (lambda: torch.tensor(float("nan")), lambda: torch.tensor(float("inf"))),
    "bool tensor": (lambda: torch.tensor([True]), lambda: torch.tensor([1], dtype=torch.uint8)),
    "bfloat16": (lambda: torch.ones(2, dtype=torch.bfloat16), lambda: torch.ones(2, dtype=torch.float16)),
    "float8": (lambda: torch.ones(2).to(torch.float8_e4m3fn), lambda: torch.ones(2).to(torch.float8_e5m2)),
    "conjugate": (lambda: torch.tensor([1j]).conj(), lambda: torch.tensor([1j])),
    "negative": (lambda: torch.tensor([1 + 1j]).conj().imag, lambda: torch.tensor([1 + 1j]).imag),
    "not contiguous": (lambda: torch.eye(3)[:, 1], lambda: torch.eye(3)[:, 2]),
    "transposed": (lambda: torch.arange(4).view(2, 2).T, lambda: torch.arange(4).view(2, 2)),
    "expanded": (lambda: torch.zeros(1).expand(2), lambda: torch.zeros(1).expand(3)),
    "sparse": (lambda: sparse(3), lambda: sparse(3, 2.0)),
    "sparse of another size": (lambda: sparse(3), lambda: sparse(4)),
}


@pytest.mark.usefixtures("values_alone")
@pytest.mark.parametrize("pair", PAIRS)
def test_what_answers_differently_has_another_digest(pair: str) -> None:
    first, second = PAIRS[pair]
    assert digest(first()) == digest(first()) != digest(second())


@pytest.mark.usefixtures("values_alone")
@pytest.mark.filterwarnings("ignore:torch.quantize_per:DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "others",
    [
        (lambda: quantized(1.0), lambda: quantized(0.5), lambda: quantized(1.0, 1), lambda: torch.tensor([1.0, 2.0])),
        (lambda: per_channel(1.0), lambda: per_channel(0.5), lambda: per_channel(1.0).dequantize()),
    ],
)
def test_a_quantized_tensor_counts_with_its_scale(others: tuple[Callable[[], object], ...]) -> None:
    digests = [digest(make()) for make in others]
    assert digests == [digest(make()) for make in others]
    assert len(set(digests)) == len(others)


def test_equal_values_that_are_laid_out_differently_have_equal_digests() -> None:
    plain = torch.arange(4.0).view(2, 2)
    assert digest(plain.T.contiguous().T) == digest(plain)
    assert digest(torch.zeros(1).expand(2)) == digest(torch.zeros(2))
    assert digest(torch.tensor([1j]).conj()) == digest(torch.tensor([complex(0, -1)]))
    # Two entries at one place add up.
    assert digest(sparse(3)) == digest(torch.sparse_coo_tensor([[1, 0]], [3.0, 2.0], (3,), check_invariants=False))


def test_a_set_is_read_in_any_order() -> None:
    numbers = [0, 8, 16]  # all in one place of a table of eight
    backwards = list(reversed(numbers))
    assert list(set(numbers)) != list(set(backwards))
    assert digest(set(numbers)) == digest(set(backwards))


@pytest.mark.usefixtures("values_alone")
def test_a_value_that_holds_itself_has_a_digest_by_where_it_does() -> None:
    def looped(outer: bool, content: int = 1) -> list[Any]:
        inner: list[Any] = [content]
        whole: list[Any] = [inner]
        inner.append(whole if outer else inner)
        return whole

    assert digest(looped(True)) == digest(looped(True))
    assert len({digest(looped(True)), digest(looped(False)), digest(looped(True, 2))}) == 3


@pytest.mark.usefixtures("values_alone")
def test_functions_and_classes_that_hold_themselves_have_digests() -> None:
    def recursive(step: int) -> Callable[[int], int]:
        def count(n: int) -> int:
            return 0 if n <= 0 else 1 + count(n - step)

        return count

    def mutual(step: int) -> type:
        class Left:
            def other(self) -> type:
                return Right

        class Right(Left):
            by = step
            first = Left

        return Left

    for make in (recursive, mutual):
        assert digest(make(1)) == digest(make(1))
        assert digest(make(1)) != digest(make(2))


# A user's class, a library's and one that it is derived from, with what takes a method's place.
PATCHES: dict[str, tuple[object, type, str, object]] = {
    "method": (Scaled(1), Scaled, "__call__", lambda self, x: x),
    "method that is new": (Scaled(1), Scaled, "__add__", lambda self, x: x),
    "static method": (Scaled(1), Scaled, "halved", staticmethod(lambda x: x)),
    "property": (Scaled(1), Scaled, "halved", property(lambda self: abs)),
    "attribute": (Net(), Net, "size", 4),
    "attribute of a base": (ForgetfulList(), Forgetful, "extra", torch.ones(1)),
    "a library's method": (nn.ReLU(), nn.ReLU, "forward", lambda self, x: x),
    "a library's method inherited": (Net(), nn.Module, "__call__", lambda self, x: x),
    "a library's method of a part": (nn.Sequential(nn.ReLU()), nn.ReLU, "forward", lambda self, x: x),
    "a library's method by a library's": (nn.ReLU(), nn.ReLU, "forward", nn.GELU.forward),
    "a library's method by another library's": (nn.ReLU(), nn.ReLU, "forward", Image.Image.show),
    "an inherited one by another library's": (nn.ReLU(), nn.ReLU, "apply", Image.Image.show),
    "a special method by another library's": (nn.ReLU(), nn.ReLU, "__add__", Image.Image.show),
    "a name in the source by another library's": (nn.ReLU(), nn.ReLU, "relu", Image.Image.show),
}


@pytest.mark.usefixtures("values_alone")
@pytest.mark.parametrize("patch", PATCHES)
def test_a_method_put_in_its_place_at_run_time_counts(patch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, kind, name, new = PATCHES[patch]
    before = digest(value)
    with monkeypatch.context() as patched:
        patched.setattr(kind, name, new, raising=False)
        assert digest(value) != before
    assert digest(value) == before


@pytest.mark.usefixtures("values_alone")
def test_a_method_that_another_library_adds_for_itself_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(nn.ReLU())
    monkeypatch.setattr(nn.Module, "show_itself", Image.Image.show, raising=False)
    assert digest(nn.ReLU()) == before


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Writes modules of a user's project, by their names, which are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)

    def write(files: dict[str, str]) -> None:
        for name, source in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source, encoding="utf-8")
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) is None or name.startswith("kit"):
            del sys.modules[name]


# A function's module, and how it comes by the module kit_leaf, or by one in a package.
WAYS = {
    "itself": {"kit_leaf": "def run(): ..."},
    "import": {"kit_top": "import kit_leaf\ndef run(): ...", "kit_leaf": ""},
    "from": {"kit_top": "from kit_leaf import NAME as n\ndef run(): ...", "kit_leaf": "NAME = 1"},
    "in a function": {"kit_top": "def run():\n    import kit_leaf", "kit_leaf": ""},
    "in a branch": {"kit_top": "def run(): ...\nif not run:\n    from kit_leaf import a", "kit_leaf": ""},
    "through another": {
        "kit_top": "import kit_middle\ndef run(): ...",
        "kit_middle": "def other():\n    import kit_leaf",
        "kit_leaf": "",
    },
    "in a circle": {"kit_top": "import kit_leaf\ndef run(): ...", "kit_leaf": "import kit_top"},
    "from a package": {"kit_top": "from kit_pack import leaf\ndef run(): ...", "kit_pack/leaf": ""},
    "relative": {
        "kit_pack/__init__": "",
        "kit_pack/top": "from . import leaf\ndef run(): ...",
        "kit_pack/leaf": "",
    },
    "relative in a function": {
        "kit_pack/__init__": "",
        "kit_pack/top": "def run():\n    from .leaf import a",
        "kit_pack/leaf": "",
    },
    "the package's own": {
        "kit_pack/__init__": "",
        "kit_top": "import kit_pack.leaf\ndef run(): ...",
        "kit_pack/leaf": "",
    },
    "by its name at run time": {
        "kit_top": "import importlib\nmade = importlib.import_module('kit' + '_leaf')\ndef run(): ...",
        "kit_leaf": "",
    },
    "by an object of a class of it": {
        "kit_top": "import importlib\nmade = importlib.import_module('kit' + '_leaf').C()\ndef run(): ...",
        "kit_leaf": "class C: ...",
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_source_counts_however_it_is_reached(way: str, write: Callable[[dict[str, str]], None]) -> None:
    files = WAYS[way]
    write(files)
    top = next(iter(name for name in files if name.endswith(("top", "kit_leaf"))))
    run = importlib.import_module(top.replace("/", ".")).run
    before = digest(run), code_digest([run])
    assert (digest(run), code_digest([run])) == before
    leaf = next(name for name in files if name.endswith("leaf"))
    write({leaf: files[leaf] + "\n# changed"})
    after = digest(run), code_digest([run])
    assert after[0] != before[0]
    assert after[1] != before[1]
    write(files)
    assert (digest(run), code_digest([run])) == before
    if "kit_pack/__init__" in files:
        write({"kit_pack/__init__": "# changed"})
        assert digest(run) != before[0]


def test_a_source_that_is_not_reached_does_not_count(write: Callable[[dict[str, str]], None]) -> None:
    write({"kit_top": "def run(): ...", "kit_leaf": ""})
    run = importlib.import_module("kit_top").run
    before = digest(run)
    write({"kit_leaf": "import os"})
    importlib.import_module("kit_leaf")
    assert digest(run) == before


def test_a_module_counts_the_same_before_and_after_a_function_imports_it(
    write: Callable[[dict[str, str]], None],
) -> None:
    write(
        {"kit_top": "def run():\n    import kit_leaf\n    return kit_leaf.f()", "kit_leaf": "import os\ndef f(): ...\n"}
    )
    run = importlib.import_module("kit_top").run
    before = digest(run)
    run()
    assert "kit_leaf" in sys.modules
    assert digest(run) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: 1, lambda: 2),
        (lambda: "a", lambda: "b"),
        (lambda: torch.zeros(2), lambda: torch.ones(2)),
        (lambda: np.zeros(2), lambda: np.ones(2)),
        (lambda: np.float64(1), lambda: np.float64(2)),
        (lambda: nn.Conv2d(1, 1, 1), lambda: nn.Conv2d(1, 1, 1, stride=2)),
        (lambda: 1, lambda: [1]),
    ],
    ids=["number", "text", "tensor", "array", "numpy's number", "model", "kind"],
)
@pytest.mark.parametrize("module", ["kit_top", "kit_leaf"])
def test_the_data_among_a_modules_variables_counts(
    first: Callable[[], object],
    second: Callable[[], object],
    module: str,
    write: Callable[[dict[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write({"kit_top": "import kit_leaf\nDATA = None\ndef run(): return DATA", "kit_leaf": "DATA = None"})
    run = importlib.import_module("kit_top").run
    with torch.random.fork_rng():
        digests = []
        for make in (first, second, first):
            torch.manual_seed(0)
            monkeypatch.setattr(sys.modules[module], "DATA", make())
            digests.append((digest(run), code_digest([run])))
    assert digests[0] == digests[2]
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] != digests[1][1]


@pytest.mark.usefixtures("values_alone")
def test_a_file_counts_where_its_path_does(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    values = (path, str(path), Settings(names=frozenset({str(path)})), [path], lambda: str(path), {"a": path})
    path.write_bytes(b"a")
    before = [digest(value) for value in values]
    assert [digest(value) for value in values] == before
    path.write_bytes(b"b")
    after = [digest(value) for value in values]
    path.unlink()
    without = [digest(value) for value in values]
    for of_one in zip(before, after, without, strict=True):
        assert len(set(of_one)) == 3
    path.write_bytes(b"a")
    assert [digest(value) for value in values] == before


def test_a_file_beside_the_process_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = [digest(value) for value in ("a.bin", Path("a.bin"), Path("a"))]
    for name in ("a.bin", "a"):
        Path(name).write_bytes(b"a")
    after = [digest(value) for value in ("a.bin", Path("a.bin"), Path("a"))]
    assert not set(before) & set(after)


@pytest.mark.parametrize("path", [Path("/"), "/", "a" * 5000 + ".b", Path("a" * 5000), "nul\0.b", "half\ud800.b"])
def test_a_path_without_a_file_has_a_digest(path: object) -> None:
    assert digest(path) == digest(copy.copy(path))


def executed(**names: str) -> type:
    names = dict(names)
    exec("class Made:\n    def f(self): return 1", names)
    return names["Made"]  # type: ignore[return-value]


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


class Refusing:
    def __reduce__(self) -> str:
        raise TypeError("not to be taken apart")


UNKNOWN: dict[str, tuple[Callable[[], object], str]] = {
    "open file": (lambda: open(os.devnull), "_io.TextIOWrapper"),  # noqa: SIM115
    "generator": (lambda: (n for n in [1]), "builtins.generator"),
    "lock": (threading.Lock, "_thread.lock"),
    "class made by exec": (executed, "the class Made, which has no source file"),
    "object of a class made by exec": (lambda: executed()(), "the class Made, which has no source file"),
    "class of a module that is nowhere": (
        lambda: executed(__name__="kit_nowhere"),
        "the module kit_nowhere, which has no source file",
    ),
    "function made by exec": (lambda: eval("lambda: 1", {}), "the module None, which has no source file"),
    "deep": (lambda: deep(10_000), "a value that is nested too deeply"),
    "meta tensor": (lambda: torch.zeros(2, device="meta"), "a tensor of layout torch.strided on meta"),
    "meta model": (lambda: nn.Linear(1, 1, device="meta"), "a tensor of layout torch.strided on meta"),
    "lazy model": (lambda: nn.LazyLinear(1), ""),
    "refusing": (Refusing, "test_fingerprint.Refusing"),
    "scripted": (lambda: torch.jit.script(nn.ReLU()), ""),
    "memory": (lambda: memoryview(b"a"), "builtins.memoryview"),
}


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("case", UNKNOWN)
def test_what_cannot_be_vouched_for_has_no_digest(case: str) -> None:
    make, message = UNKNOWN[case]
    value = make()
    try:
        for holder in (value, [1, {"a": value}], closed(value), Settings(weights=value)):
            with pytest.raises(Unknown) as caught:
                digest(holder)
            assert message in str(caught.value)
    finally:
        if isinstance(value, io.IOBase):
            value.close()


@pytest.mark.usefixtures("values_alone")
def test_a_class_that_cannot_be_vouched_for_stays_so_after_it_was_passed_over() -> None:
    made = executed()

    class Holder:
        kept_by_the_class = made()

        def __init__(self, kept: object) -> None:
            self.kept = kept

    # What a class statement holds is in its source, be it a lock.
    assert digest(Holder(1)) == digest(Holder(1))
    with pytest.raises(Unknown, match="Made"):
        digest(Holder(made()))


def test_a_variable_nested_too_deeply_leaves_no_digest(
    write: Callable[[dict[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"kit_top": "DATA = None\ndef run(): ..."})
    module = importlib.import_module("kit_top")
    model = nn.Identity()
    model.held = deep(10_000)
    monkeypatch.setattr(module, "DATA", model)
    with pytest.raises(Unknown, match=r"^a value that is nested too deeply$"):
        digest(module.run)


def test_more_values_than_can_be_read_in_seconds_leave_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_robustness.fingerprint._MOST", 1000)
    assert digest(list(range(100)))
    with pytest.raises(Unknown, match=r"^a value that holds more than 1000 others$"):
        digest(list(range(1000)))


class Keeping(nn.Module):
    """A model whose state holds something else than tensors."""

    def __init__(self, kept: object) -> None:
        super().__init__()
        self.kept = kept

    def get_extra_state(self) -> object:
        return self.kept


def test_the_digest_of_weights_is_of_the_class_and_the_state() -> None:
    model, same = nn.Linear(2, 1), nn.Linear(2, 1)
    same.load_state_dict(model.state_dict())
    assert weights_digest(same) == weights_digest(model) != weights_digest(nn.Linear(2, 1))
    assert re.fullmatch("[0-9a-f]{64}", weights_digest(model))

    class Other(nn.Linear):
        pass

    other = Other(2, 1)
    other.load_state_dict(model.state_dict())
    assert weights_digest(other) != weights_digest(model)
    assert weights_digest(model.double()) != weights_digest(same)


@pytest.mark.parametrize("change", ["one bit of a weight", "weight", "buffer", "statistics", "dtype", "part"])
def test_the_digest_of_weights_sees_every_tensor_of_the_state(change: str) -> None:
    model = Net()
    CHANGES[change](model)
    assert weights_digest(model) != weights_digest(Net())


def test_the_digest_of_weights_does_not_depend_on_their_order() -> None:
    model = Net()
    CHANGES["order of parts"](model)
    assert list(model.state_dict()) != list(Net().state_dict())
    assert weights_digest(model) == weights_digest(Net())


@pytest.mark.parametrize("value", [nothing, lambda x: x, Scaled(1), None, nn.ReLU])
def test_what_is_no_module_has_no_weights(value: object) -> None:
    assert weights_digest(value) == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 2),
        ("a", "b"),
        ({"a": torch.tensor(1.00001)}, {"a": torch.tensor(1.00002)}),
        (np.arange(5000), np.where(np.arange(5000) == 2500, 0, np.arange(5000))),
        (threading.Lock(), None),
    ],
    ids=["number", "text", "tensor that is printed rounded", "array that is printed in part", "lock"],
)
def test_the_digest_of_weights_counts_what_else_is_in_the_state(first: object, second: object) -> None:
    assert weights_digest(Keeping(first)) == weights_digest(Keeping(first)) != weights_digest(Keeping(second))


def test_the_digest_of_weights_is_there_for_weights_that_have_no_values() -> None:
    assert weights_digest(nn.Linear(1, 1, device="meta")) != weights_digest(nn.Linear(1, 2, device="meta"))


def test_the_digest_of_code_is_of_modules_not_of_their_order() -> None:
    assert code_digest([Net, nn.ReLU]) == code_digest([nn.ReLU, nothing])
    assert code_digest([nn.ReLU]) != code_digest([Net])
    assert code_digest([builtins.dict]) == code_digest([])
    with pytest.raises(Unknown, match=r"^the module kit_nowhere, which has no source file$"):
        code_digest([executed(__name__="kit_nowhere")])


@dataclass
class Installed:
    """A distribution as importlib.metadata finds it."""

    version: str = "1.0"
    record: str | None = "kit.py,sha256=aaa,1\n"

    def read_text(self, name: str) -> str | None:
        assert name == "RECORD"
        return self.record


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str | None]]:
    """The version of the package kit that these distributions bring, the first of them under its own name."""

    def install(named: Installed | None = None, *others: Installed) -> str | None:
        known = {f"other-{n}": other for n, other in enumerate(others)} | ({"kit": named} if named else {})

        def distribution(name: str) -> Installed:
            if name not in known:
                raise importlib.metadata.PackageNotFoundError(name)
            return known[name]

        monkeypatch.setattr(importlib.metadata, "distribution", distribution)
        monkeypatch.setattr(sources, "_distributions", lambda: {"kit": [*known]} if known else {})
        sources.installed_version.cache_clear()
        return sources.installed_version("kit")

    yield install
    monkeypatch.undo()
    sources.installed_version.cache_clear()


def test_an_installed_library_counts_with_its_version_and_the_digests_of_its_files(
    install: Callable[..., str | None],
) -> None:
    first = install(Installed())
    assert first is not None
    assert first.startswith("1.0 ")
    assert install(Installed("1.1")) != first
    assert install(Installed(record="kit.py,sha256=bbb,1\n")) != first
    assert install(Installed(record=None)) not in (first, None)
    assert install() is None


def test_what_installers_write_in_their_own_ways_does_not_count(install: Callable[..., str | None]) -> None:
    lines = ["kit.py,sha256=aaa,1", "kit/b.py,sha256=b,1"]
    first = install(Installed(record="\n".join(lines)))
    others = ["../../bin/kit,sha256=c,1", "kit-1.0.dist-info/INSTALLER,sha256=d,1", "__pycache__/kit.pyc,,"]
    assert install(Installed(record="\n".join([*others, *lines[::-1]]))) == first


def test_all_distributions_that_share_a_package_count(install: Callable[..., str | None]) -> None:
    first = install(None, Installed(), Installed())
    assert install(None, Installed(), Installed("2.0")) != first
    assert install(None, Installed("2.0"), Installed()) != first
    assert install(None, Installed(), Installed(record="kit/b.py,sha256=b,1")) != first
    assert install(None, Installed(), Installed()) == first


def test_an_updated_library_makes_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(nn.ReLU())
    updated = lambda top: f"{top} 99"  # noqa: E731
    monkeypatch.setattr("pytest_robustness.fingerprint.installed_version", updated)
    assert digest(nn.ReLU()) != before


# Of all kinds whose digest might depend on hashes, addresses or the order of imports.
KIT = """
import collections, dataclasses, enum, functools, pathlib
import numpy as np
import torch
from torch import nn

NAMES = {"a", "b", "c", "d"}
TABLE = torch.arange(4)

class Colour(enum.Flag):
    RED, BLUE, GREEN = 1, 2, 4

@dataclasses.dataclass(frozen=True)
class Stress:
    names: frozenset = frozenset("stress")
    kinds: frozenset = frozenset({Colour.RED, Colour.GREEN})
    file: pathlib.Path = pathlib.Path(__file__)
    by: functools.partial = functools.partial(max, key=lambda x: x in {"p", "q", "r"})

class Net(nn.Module):
    labels = {"cat", "dog", "bird"}

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
        for parameter in self.parameters():
            parameter.data.fill_(0.5)
        self.register_forward_hook(lambda *_: None)
        self.counts = collections.Counter("hello")
        self.kinds = {nn.ReLU, nn.GELU, int}

    @functools.cached_property
    def slow(self):
        return 1

    def forward(self, images):
        return torch.relu(self.body(images))

def values():
    net = Net()
    return [net, net.forward, Stress(), NAMES, TABLE, np.arange(3), np.float32(1), Colour, torch.relu, np.exp,
            lambda: net.body, sorted, object, {1: {"x", "y"}, (2,): {frozenset("ab")}}, torch.float8_e5m2]
"""


def test_another_process_finds_the_same_digests(write: Callable[[dict[str, str]], None], tmp_path: Path) -> None:
    if nn.Module.__init__.__module__ != nn.Module.__module__:
        pytest.skip("the compiler of an older torch has put an __init__ of its own into nn.Module of this process")
    write({"kit_top": KIT})
    module = importlib.import_module("kit_top")
    here = [*map(digest, module.values()), weights_digest(module.Net()), code_digest([module.Net, module.values])]
    script = (
        "import kit_top; from pytest_robustness.fingerprint import *\n"
        "print(*map(digest, kit_top.values()), weights_digest(kit_top.Net()), code_digest([kit_top.Net, kit_top.values]))"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(sources.__file__).parents[1])])
    seed = str((hash("a") + 1) % 1000)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == here

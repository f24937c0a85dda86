"""What can be called, in words: arguments with types and defaults as they are written, and contracts.

Nothing is made up here: names, types and defaults are those of the source, where choices are spelled out, and a contract is
the first line of a docstring.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Argument",
    "arguments",
    "contract",
    "hint_text",
    "meaning_of",
    "returned",
    "signature",
    "text_of",
    "words_of",
]

# A line of code is read without scrolling up to here.
_WIDTH = 110


@dataclass(frozen=True)
class Argument:
    """One argument; `hint` and `default` are source text, empty where there is none. A bare `*` is one by that name."""

    name: str
    hint: str = ""
    default: str = ""

    def __str__(self) -> str:
        typed = f"{self.name}: {self.hint}" if self.hint else self.name
        return f"{typed} = {self.default}" if self.default else typed


def contract(documented: Any) -> str:
    """The first line of the docstring, the sentence that says what is promised."""
    return text_of(documented).partition("\n")[0]


def text_of(documented: Any) -> str:
    """The whole docstring, empty where there is none of its own: a class does not inherit one."""
    if isinstance(documented, type):
        return inspect.cleandoc(vars(documented).get("__doc__") or "")
    return inspect.getdoc(documented) or ""


def signature(call: Callable[..., Any], name: str) -> str:
    """`name(first: type = default, ...)`, as a call of it is read: without `self`, in lines of 110 characters."""
    parts = [str(argument) for argument in arguments(call)]
    ending = "" if isinstance(call, type) else f" -> {hint_text(call, 'return')}"
    whole = f"{name}({', '.join(parts)}){ending}"
    if len(whole) <= _WIDTH:
        return whole
    # A line ends between two arguments, never inside of one.
    filled = textwrap.fill(", ".join(part.replace(" ", "\0") for part in parts), _WIDTH - 4, break_on_hyphens=False)
    return f"{name}(\n{textwrap.indent(filled, '    ')},\n){ending}".replace("\0", " ")


def arguments(call: Callable[..., Any]) -> Sequence[Argument]:
    """The arguments of a function, or of a class's constructor, in order and without `self`."""
    if not isinstance(call, type):
        return list(_given(_function(call).args, _spelling(call)))
    for base in call.__mro__:
        own = vars(base).get("__init__")
        # That of a dataclass is written by no one.
        if isinstance(own, types.FunctionType) and own.__code__.co_filename == "<string>":
            return _fields(call)
        if isinstance(own, types.FunctionType):
            return list(_given(_function(own).args, _spelling(base)))
    return [Argument("message", "str")] if issubclass(call, Exception) else []


def hint_text(owner: Any, name: str) -> str:
    """The type of what a function returns, or of a field of a class, as it is written; empty without one."""
    if not isinstance(owner, type):
        found = _function(owner).returns
    else:
        annotated = [own for own in _class(owner).body if isinstance(own, ast.AnnAssign)]
        found = next((own.annotation for own in annotated if ast.unparse(own.target) == name), None)
    return "" if found is None else _spelling(owner).text(found)


def words_of(text: str) -> set[str]:
    """The names of classes and of other types that stand in a signature."""
    return set(re.findall(r"\b[A-Z]\w+", re.sub(r'"[^"]*"', "", text.partition("(")[2])))


def returned(call: Callable[..., Any]) -> list[type]:
    """The classes of this package that it returns, those inside of a tuple too."""
    hint = typing.get_type_hints(call).get("return")
    every = [hint, *typing.get_args(hint)]
    return [own for own in every if isinstance(own, type) and own.__module__.startswith("pytest_robustness.")]


def meaning_of(name: str, call: Callable[..., Any]) -> str:
    """What a word in the signature means: the contract of a class, the docstring below an alias; empty where it is not of this package."""
    homes = [base.__module__ for base in call.__mro__] if isinstance(call, type) else [call.__module__]
    value = next((vars(sys.modules[home])[name] for home in homes if name in vars(sys.modules[home])), None)
    if isinstance(value, type) and value.__module__.startswith("pytest_robustness."):
        return contract(value)
    ours = [module for home, module in sys.modules.items() if home.startswith("pytest_robustness.")]
    named = [module for module in ours if name in getattr(module, "__all__", ()) and getattr(module, name) == value]
    return next(filter(None, (_below(name, module) for module in named)), "")


def _below(name: str, module: types.ModuleType) -> str:
    """The docstring below `name = ...` in a module, in one line."""
    body = ast.parse(inspect.getsource(module)).body
    for assigned, below in itertools.pairwise(body):
        said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if said and isinstance(assigned, ast.AnnAssign | ast.Assign) and name in ast.unparse(assigned).split("=")[0]:
            return " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return ""


def _function(call: Callable[..., Any]) -> ast.FunctionDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(call))).body
    assert isinstance(node, ast.FunctionDef)
    return node


def _class(made: Any) -> ast.ClassDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(made))).body
    assert isinstance(node, ast.ClassDef)
    return node


def _spelling(owner: Any) -> "_Spelling":
    return _Spelling(sys.modules[owner.__module__])


def _fields(made: Any) -> Sequence[Argument]:
    settable = [field.name for field in dataclasses.fields(made) if field.init]
    found: dict[str, Argument] = {}
    for base in (own for own in reversed(made.__mro__) if dataclasses.is_dataclass(own)):
        for own in _class(base).body:
            if isinstance(own, ast.AnnAssign) and (name := ast.unparse(own.target)) in settable:
                found[name] = _argument(name, own.annotation, own.value, _spelling(base))
    return [found[name] for name in settable]


def _given(given: ast.arguments, spelling: "_Spelling") -> Iterator[Argument]:
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    for own, default in zip(positional, defaults, strict=True):
        if own.arg != "self":
            yield _argument(own.arg, own.annotation, default, spelling)
    if given.vararg is not None:
        yield _argument(f"*{given.vararg.arg}", given.vararg.annotation, None, spelling)
    elif given.kwonlyargs:
        yield Argument("*")
    for own, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(own.arg, own.annotation, default, spelling)


def _argument(name: str, hint: ast.expr | None, default: ast.expr | None, spelling: "_Spelling") -> Argument:
    typed = "" if hint is None else spelling.text(hint)
    return Argument(name, typed, "" if default is None else spelling.default(default))


class _Spelling(ast.NodeTransformer):
    """Source as a reader wants it: choices by their values, private names by what they stand for, others as they are."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._names: Mapping[str, Any] = vars(module)

    def text(self, hint: ast.expr) -> str:
        return _quoted(self.visit(hint))

    def default(self, value: ast.expr) -> str:
        # Of `dataclasses.field(default=...)` it is what stands there.
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field"):
            (value,) = (own.value for own in value.keywords if own.arg == "default")
        if isinstance(value, ast.Name) and value.id.startswith("_"):
            body = ast.parse(inspect.getsource(self._module)).body
            assigned = [own for own in body if isinstance(own, ast.Assign)]
            value = next(own.value for own in assigned if ast.unparse(own.targets[0]) == ast.unparse(value))
        return _quoted(value)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        # A type in quotes, for a name that is not known when the module is read.
        return self.visit(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        found = self._names.get(node.id)
        return _choices(typing.get_args(found)) if typing.get_origin(found) is typing.Literal else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.Name(node.attr)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and self._names.get(node.value.id) is typing.Literal:
            members = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return _choices([ast.literal_eval(member) for member in members])
        return self.generic_visit(node)


def _quoted(node: ast.AST) -> str:
    return ast.unparse(node).replace("'", '"')


def _choices(values: Sequence[Any]) -> ast.expr:
    constants: list[ast.expr] = [ast.Constant(value) for value in values]
    return functools.reduce(lambda left, right: ast.BinOp(left, ast.BitOr(), right), constants)

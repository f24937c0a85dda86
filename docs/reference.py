"""The reference, made of the code that it is about: `python docs/reference.py` writes docs/reference/, `--check` says what is old.

A sentence on these pages is the first line of a docstring, the help of an option or a description of a schema: it is changed there.
What stands here is the order in which they come, and which page explains them.
"""

import argparse
import ast
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks import code, contents, page_of, paragraphs, python, table
from signatures import Argument, arguments, contract, hint_text, meaning_of, returned, signature, text_of, words_of

import pytest_robustness
from pytest_robustness import Robustness, __main__, load_model, plugin
from pytest_robustness.config.documents import SECTIONS, image_settings
from pytest_robustness.config.gates import COMMON, kinds
from pytest_robustness.config.options import run_options
from pytest_robustness.config.registry import KINDS, constructors
from pytest_robustness.image_sources import image_source
from pytest_robustness.schema import results_schema
from pytest_robustness.settings import OPTIONS, Option

FOLDER = Path(__file__).parent / "reference"
_MADE = (
    "<!-- Made of the code by `python docs/reference.py`: a sentence is changed in the docstring that it is from. -->"
)

GROUPS: Mapping[str, tuple[str, Sequence[str]]] = {
    "Asking": ("README.md", ("config", "curves", "engine", "errors", "gates", "robustness")),
    "Models": ("docs/models.md", ("models",)),
    "Images": (
        "docs/images.md",
        (
            "loading",
            "manifests",
            "map_datasets",
            "hub_datasets",
            "tars",
            "image_sources",
            "image_sets",
            "preprocessing",
        ),
    ),
    "Perturbations": ("docs/stresses.md", ("perturbations", "corruptions")),
    "Attacks": ("docs/attacks.md", ("attacks",)),
    "Defenses": ("docs/defenses.md", ("defenses",)),
    "Explanations": ("docs/explanations.md", ("explanations",)),
}
"""The groups of public names: the page that explains them, and the modules that they are from."""

OPTION_PAGES: Mapping[str, str] = {
    "profile": "profiles",
    "shard": "sharding",
    **dict.fromkeys(("baseline", "update-baseline", "prune-baseline", "compare-fail", "corpus", "replay"), "baselines"),
    **dict.fromkeys(("explain", "explain-by", "explain-most"), "explanations"),
    **dict.fromkeys(("json", "report", "markdown", "metrics", "openmetrics", "model-card"), "formats"),
}
"""Which page explains an option, where one does."""

METHOD_PAGES: Mapping[str, Sequence[str]] = {
    "baselines": ("baseline",),
    "defenses": ("behind", "certified", "defense", "vote"),
    "explanations": ("attends", "attention", "expla"),
    "modify_and_mimic": ("rate", "targeted", "trace"),
    "attacks": ("accuracies", "curve", "epsilon"),
    "stresses": ("breaking", "corruption", "holds", "sweep"),
}
"""Which page explains the methods with one of these words in their names."""


STATUSES: Sequence[tuple[str, str]] = (
    ("0", "every test passed, every gate did, and nothing was worse than the baseline allows"),
    (
        "1",
        "a test failed or a gate is not green; fewer gates than `--robustness-min-gates`; a baseline was created, or a comparison failed or could not be made",
    ),
    ("2, 4", "pytest's: interrupted or not collected, and options that make no sense"),
    ("3", "an internal error, also of a worker, or a file that could not be written in a run that is green otherwise"),
    ("5", "pytest's: no test was run"),
)
"""The exit status of pytest with this plugin."""

ENVIRONMENT: Sequence[tuple[str, str]] = (
    ("CI", "where it is set, `dev` in an ini file is `ci`, and no line tells how far an evaluation is"),
    ("GITHUB_ACTIONS", "`true` adds an annotation for each gate that did not pass"),
    ("GITHUB_STEP_SUMMARY", "the file that a summary is added to"),
    ("TERM", "`dumb` has no line that tells how far an evaluation is"),
)
"""The variables of the environment that this package reads; torch has its own, such as CUDA_VISIBLE_DEVICES."""


def pages() -> Mapping[str, str]:
    """The pages, by the names of their files."""
    made: Sequence[tuple[str, str, Iterable[str]]] = [
        ("pytest.md", "Options, fixtures and the marker", _pytest()),
        ("robustness.md", "Assertions and measurements", _robustness()),
        ("names.md", "Public names", _names()),
        ("yaml.md", "Keys of robustness.yaml", _yaml()),
        ("results.md", "Fields of results", _results()),
        ("commands.md", "Commands", _commands()),
    ]
    return {name: "\n".join([f"# {title}", "", _MADE, "", *lines]).rstrip() + "\n" for name, title, lines in made}


def main(given: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check say which are not what would be written; the exit status, 2 where they can't be written."""
    parser = argparse.ArgumentParser("python docs/reference.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is old")
    check = parser.parse_args(given).check
    try:
        made = pages()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    FOLDER.mkdir(exist_ok=True)
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    old = sorted(name for name in {*made, *there} if made.get(name) != there.get(name))
    for name in () if check else old:
        if name in made:
            (FOLDER / name).write_text(made[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    told = "is old: write it with python docs/reference.py" if check else "written"
    sys.stdout.writelines(f"docs/reference/{name}: {told}\n" for name in old)
    return int(check and bool(old))


def _pytest() -> Iterator[str]:
    yield "An option stands on the command line, in a file of gates ([yaml](yaml.md)), or in the ini file, and counts in this order. Flags are"
    yield "`true` or `false` outside of the command line."
    yield ""
    rows = []
    for option in OPTIONS:
        name, default = f"--robustness-{option.name}", "false"
        if isinstance(option, Option):
            name, default = f"{name}={option.metavar}", option.default
        ini = f"robustness_{option.name.replace('-', '_')}"
        about = option.help + (f" ({page_of(OPTION_PAGES[option.name])})" if option.name in OPTION_PAGES else "")
        rows.append((code(name), code(ini), code(default), about))
    yield from table(("option", "ini file", "default", ""), rows)
    yield from ("## Fixtures", "")
    fixtures = []
    for name, own in vars(plugin).items():
        if hasattr(own, "_get_wrapped_function"):
            fixtures.append((code(name), own._fixture_function_marker.scope, contract(own._get_wrapped_function())))
    yield from table(("fixture", "scope", ""), fixtures)
    yield from ("## The marker", "", "`@pytest.mark.robustness(...)` takes these arguments, by name:", "")
    yield from table(("argument", ""), _marker())
    yield "Of several markers, on a class or a module too, the nearest one with an argument decides; waivers of all of them are joined."
    yield from ("", "## Exit status", "")
    yield from table(("status", ""), [(code(status), about) for status, about in STATUSES])
    yield from ("## Environment", "")
    yield from table(("variable", ""), [(code(name), about) for name, about in ENVIRONMENT])


def _marker() -> Iterator[Sequence[str]]:
    """The arguments of the marker as `pytest --markers` shows them: in an example, and what each is for."""
    (line,) = [
        ast.literal_eval(node.args[1])
        for node in ast.walk(ast.parse(inspect.getsource(plugin.pytest_configure)))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("addinivalue_line")
    ]
    example, _, about = line.partition("): ")
    call = ast.parse(f"{example})", mode="eval").body
    assert isinstance(call, ast.Call)
    shown = {own.arg: ast.unparse(own) for own in call.keywords}
    for said in about.split("; "):
        name, _, text = said.partition(": ")
        yield code(shown[name]), text


def _robustness() -> Iterator[str]:
    methods = inspect.getmembers(Robustness, inspect.isfunction)
    public = [(name, method) for name, method in methods if not name.startswith("_")]
    yield "Methods of the fixture `robustness`, and of `Robustness(engine)` in a notebook. `help(robustness.accuracy)` has the whole contract of each: ranges,"
    yield "units and errors. An image that is wrong when clean is not attacked, and counts as wrong under every attack."
    yield ""
    yield from ("## Assertions", "", *contents(name for name, _ in public if name.startswith("assert_")))
    yield "Each judges one gate, and raises `GateFailed` where it does not pass. What a `confidence` means: [profiles](../profiles.md)."
    yield ""
    for name, method in public:
        if name.startswith("assert_"):
            yield from _entry(method, name, f"robustness.{name}", _more(name))
    yield from ("## Measurements", "", *contents(name for name, _ in public if not name.startswith("assert_")))
    yield "Each returns a number or a record that explains itself; `print` it, or `assert` on it."
    yield ""
    for name, method in public:
        if not name.startswith("assert_"):
            yield from _entry(method, name, f"robustness.{name}", _more(name))
    yield from ("## What measurements return", "")
    results = {own: None for _, method in public for own in returned(method)}
    yield from contents(own.__name__ for own in results)
    for own in results:
        yield from (f"### {own.__name__}", "", *paragraphs(text_of(own)))
        yield from table(("", ""), _attributes(own))
    yield from _words([method for _, method in public], {own.__name__ for own in results})


def _entry(call: Callable[..., Any], name: str, shown: str, more: str = "") -> Iterator[str]:
    yield from (f"### {name}", "", contract(call) + more, "")
    yield from python(signature(call, shown))


def _more(name: str) -> str:
    found = [page for page, words in METHOD_PAGES.items() if any(word in name for word in words)]
    return f" More: {page_of(found[0])}." if found else ""


def _attributes(made: type) -> Iterator[tuple[str, str]]:
    """Fields, properties and methods that are public, with what is said of them alone."""
    own = [base for base in made.__mro__ if base.__module__.startswith("pytest_robustness.")]
    for base in reversed(own):
        for name in inspect.get_annotations(base):
            if not name.startswith("_"):
                yield f"`.{name}: {hint_text(base, name)}`", ""
    for base in own:
        for name, value in vars(base).items():
            if name.startswith("_"):
                continue
            if callable(getattr(value, "func", None)) or isinstance(value, property):
                function = value.fget if isinstance(value, property) else value.func
                yield f"`.{name}: {hint_text(function, 'return')}`", contract(function)
            elif inspect.isfunction(value):
                yield f"`.{' '.join(signature(value, name).split())}`", contract(value)


def _words(calls: Iterable[Callable[..., Any]], known: Collection[str]) -> Iterator[str]:
    """What the words in these signatures mean that are neither Python's, nor public, nor explained otherwise."""
    rows = {}
    for call in calls:
        for name in words_of(signature(call, "")) - {*known, *pytest_robustness.__all__}:
            meaning = meaning_of(name, call)
            if meaning:
                rows[code(name)] = meaning
    yield from ("## Words in the signatures", "", "Public names are [here](names.md); of the others:", "")
    yield from table(("", ""), sorted(rows.items()))


def _names() -> Iterator[str]:
    yield "What `from pytest_robustness import ...` can import, by what it is for. `help(PGD)` has the whole contract of each: shapes, units, ranges, errors, and the"
    yield "source with its equation; [methods](../methods.md) has the papers."
    yield ""
    homes = {name: getattr(pytest_robustness, name).__module__.split(".")[1] for name in pytest_robustness.__all__}
    for name, home in homes.items():
        if not any(home in modules for _, modules in GROUPS.values()):
            raise ValueError(
                f"{name}: expected a group of docs/reference.py that has its module {home}, got none; see GROUPS"
            )
    for title, (page, modules) in GROUPS.items():
        names = sorted((name for name, home in homes.items() if home in modules), key=str.lower)
        yield from (f"## {title}", "", f"Explained in [{Path(page).stem}]({_up(page)}).", "")
        if title == "Perturbations":
            yield from table(("perturbation", "strength", "at most"), _strengths(names))
        else:
            yield from contents(names)
        for name in names:
            call = getattr(pytest_robustness, name)
            yield from _entry(call, name, name)
    yield from _words([getattr(pytest_robustness, name) for name in pytest_robustness.__all__], ())


def _up(page: str) -> str:
    return f"../../{page}" if page == "README.md" else f"../{Path(page).name}"


def _strengths(names: Iterable[str]) -> Iterator[Sequence[str]]:
    for name in names:
        call = getattr(pytest_robustness, name)
        if isinstance(getattr(call, "unit", None), str):
            limit = "" if call.limit == float("inf") else f"{call.limit:g}"
            yield f"[{name}](#{name.lower()})", call.unit, limit


def _yaml() -> Iterator[str]:
    yield "[Gates in YAML](../yaml.md) shows such files; [robustness.schema.json](../robustness.schema.json) is their JSON Schema."
    yield from ("", "## The file", "")
    yield from table(("key", ""), [(code(name), about) for name, about in SECTIONS.items()])
    yield f"The options of the run ([options](pytest.md)), without those of one run alone: {', '.join(map(code, run_options()))}."
    yield ""
    yield from ("## model", "", f"What [load_model](names.md#load_model) takes: {_first(contract(load_model))}", "")
    yield from _settings(arguments(load_model))
    yield from (
        "## images",
        "",
        f"What [image_source](names.md#image_source) takes: {_first(contract(image_source))}",
        "",
    )
    known = {own.name: own for own in arguments(image_source)}
    known["source"] = Argument("source", "str | Sequence[str]")
    known["labels"] = Argument("labels", "Mapping[str, Collection[str | int]]", "None")
    yield from _settings([known[name] for name in image_settings()])
    yield from ("## gates", "", "Every gate may have these keys, beside the arguments of its assertion:", "")
    yield from table(("key", ""), [(code(name), about) for name, about in COMMON.items()])
    rows = []
    for name, kind in sorted(kinds().items()):
        own = [a for a in arguments(getattr(Robustness, f"assert_{name}")) if a.name in kind.parameters]
        needs = ", ".join(code(a.name) for a in own if not a.default)
        may = ", ".join(
            code(f"{a.name}: {text}" if (text := _written(a.default)) else a.name) for a in own if a.default
        )
        rows.append(
            (f"[{name}](robustness.md#assert_{name})", "each image" if kind.per_image else "all images", needs, may)
        )
    yield from table(("`assert`", "one test for", "needs", "may have, with its default"), rows)
    yield from (
        "## Names",
        "",
        "What may be named for an argument, by what it has to be; their settings are [theirs in Python](names.md):",
        "",
    )
    made = constructors().values()
    links = {kind: [f"[{own.name}](names.md#{own.name.lower()})" for own in made if own.kind == kind] for kind in KINDS}
    yield from table(("", ""), [(KINDS[kind], ", ".join(own)) for kind, own in links.items()])
    yield from _words([load_model, image_source], ())


def _first(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _written(default: str) -> str:
    """A default as YAML has it; empty for one that it has no word for."""
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(default, "" if default.isupper() else default.strip('"').replace("(", "[").replace(")", "]"))


def _settings(given: Iterable[Argument]) -> Iterator[str]:
    rows = [(code(a.name), code(a.hint), code(_written(a.default))) for a in given if a.name != "*"]
    yield from table(("key", "takes", "default"), rows)


def _results() -> Iterator[str]:
    schema = results_schema()
    yield "What `--robustness-json` and `merge` write: [results.schema.json](../results.schema.json) is the JSON Schema of it, which `python -m pytest_robustness"
    yield "schema` prints. A field of a record is always there; one that has nothing to say is null, empty, or false."
    yield ""
    yield from contents(schema["$defs"])
    yield from ("## Results", "", *paragraphs(schema["description"]))
    yield from _properties(schema)
    for name, record in schema["$defs"].items():
        yield from (f"## {name}", "", *paragraphs(record["description"]))
        yield from _properties(record)


def _properties(record: Mapping[str, Any]) -> Iterator[str]:
    optional = {*record["properties"]} - {*record["required"]}
    rows = [
        (code(n), _json(p) + (", where there is one" if n in optional else "")) for n, p in record["properties"].items()
    ]
    yield from table(("field", "is"), rows)


def _json(schema: Mapping[str, Any]) -> str:
    """A schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(f'"{schema["const"]}"')
    if "enum" in schema:
        return " or ".join(code(f'"{value}"') for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_json, schema["anyOf"]))
    if "prefixItems" in schema:
        return f"[{', '.join(map(_json, schema['prefixItems']))}]"
    if "items" in schema:
        return f"list of {_json(schema['items'])}"
    if "additionalProperties" in schema:
        return f"object of {_json(schema['additionalProperties'])} by key"
    return str(schema["type"])


def _commands() -> Iterator[str]:
    yield "`python -m pytest_robustness COMMAND`:"
    yield ""
    (commands,) = [a for a in __main__._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, parser in commands.choices.items():
        yield from (f"## {name}", "", parser.description or "", "")
        rows = []
        for action in parser._actions:
            if not isinstance(action, argparse._HelpAction):
                value = action.metavar or action.dest.upper()
                shown = value if isinstance(value, str) else " ".join(value)
                called = ", ".join(
                    f"{own} {shown if action.nargs != 0 else ''}".strip() for own in action.option_strings
                )
                rows.append((code(called or shown), (action.help or "").replace("%%", "%")))
        yield from table(("argument", ""), rows)
    yield from ("## Exit status", "", *paragraphs(text_of(__main__.main).partition("\n\n")[2]))


if __name__ == "__main__":
    sys.exit(main())

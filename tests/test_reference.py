"""The reference has all there is and nothing else, as the code has it now."""

import ast
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import reference
from signatures import returned

import pytest_robustness
from pytest_robustness import InputError, Robustness, __main__, plugin
from pytest_robustness.choosing import marked
from pytest_robustness.config.documents import SECTIONS, image_settings, model_settings
from pytest_robustness.config.gates import COMMON, kinds
from pytest_robustness.config.options import run_options
from pytest_robustness.config.registry import constructors
from pytest_robustness.schema import schema_text
from pytest_robustness.settings import OPTIONS, Flag

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}


def sections(page: str, level: str = "##") -> dict[str, str]:
    """What stands below each heading of a level, up to the next one of the same or a higher level."""
    parts = re.split(rf"^({level} .*)$", PAGES[page], flags=re.MULTILINE)[1:]
    higher = re.compile(rf"^#{{1,{len(level) - 1}}} ", flags=re.MULTILINE)
    return {
        head.removeprefix(f"{level} "): higher.split(text)[0]
        for head, text in zip(parts[::2], parts[1::2], strict=True)
    }


def cells(text: str) -> list[list[str]]:
    """The rows of the tables, without their heads."""
    rows = [line.replace("\\|", "\0") for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip().replace("\0", "|") for cell in row[1:-1].split("|")] for row in rows]
    heads = {number - 1 for number, row in enumerate(split) if set(row) == {"---"}}
    return [row for number, row in enumerate(split) if number not in heads and number - 1 not in heads]


def named(text: str) -> list[str]:
    """What stands as code in the first cells."""
    return [row[0].strip("`") for row in cells(text)]


def test_the_pages_are_what_the_code_says_now(capsys: pytest.CaptureFixture[str]) -> None:
    """Written by `python docs/reference.py`."""
    if not hasattr(plugin.robustness, "_get_wrapped_function"):
        pytest.skip("an older pytest does not tell a fixture's scope from outside")
    assert (reference.main(["--check"]), capsys.readouterr().out) == (0, "")


def test_an_old_page_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"one.md": "# One\n", "two.md": "# Two\n"}
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    monkeypatch.setattr(reference, "pages", lambda: made)
    (tmp_path / "one.md").write_text("# One\n", encoding="utf-8")
    (tmp_path / "two.md").write_text("# Twice\n", encoding="utf-8")
    (tmp_path / "gone.md").write_text("# Gone\n", encoding="utf-8")
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().out == (
        "docs/reference/gone.md: is old: write it with python docs/reference.py\n"
        "docs/reference/two.md: is old: write it with python docs/reference.py\n"
    )
    assert reference.main([]) == 0
    assert capsys.readouterr().out == "docs/reference/gone.md: written\ndocs/reference/two.md: written\n"
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == made


def test_a_name_that_is_in_no_group_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "GROUPS", {"Attacks": ("docs/attacks.md", ("attacks", "perturbations"))})
    assert reference.main(["--check"]) == 2
    assert capsys.readouterr().err == (
        "Anchors: expected a group of docs/reference.py that has its module explanations, got none; see GROUPS\n"
    )


def test_every_option_has_its_ini_twin_and_its_default(pytestconfig: pytest.Config) -> None:
    rows = cells(PAGES["pytest.md"].partition("## Fixtures")[0])
    assert [row[0].strip("`").partition("=")[0] for row in rows] == [f"--robustness-{own.name}" for own in OPTIONS]
    for option, (_, ini, default, about) in zip(OPTIONS, rows, strict=True):
        known = pytestconfig._parser._inidict[ini.strip("`")]
        assert known[2] == (default == "`true`" if isinstance(option, Flag) else default.strip("`"))
        assert about.startswith(option.help)


def test_the_fixtures_are_those_of_the_plugin(pytester: pytest.Pytester) -> None:
    rows = {name.strip("`"): scope for name, scope, _ in cells(sections("pytest.md")["Fixtures"])}
    pytester.makepyfile("")
    lines = pytester.runpytest_inprocess("--fixtures", "-q").outlines
    found = (re.match(r"(robustness\w*)(?: \[(\w+) scope\])? -- ", line) for line in lines)
    assert rows == {own[1]: own[2] or "function" for own in found if own}


@pytest.mark.parametrize("given", named(sections("pytest.md")["The marker"]))
def test_the_marker_takes_what_the_page_says(given: str) -> None:
    assert marked(Marked(given)) == eval(f"dict({given})")  # type: ignore[arg-type]


def test_the_marker_takes_nothing_else() -> None:
    names = [given.partition("=")[0] for given in named(sections("pytest.md")["The marker"])]
    with pytest.raises(InputError) as refused:
        marked(Marked("other=1"))  # type: ignore[arg-type]
    example = str(refused.value).partition("@pytest.mark.robustness(")[2].partition("), got")[0]
    assert sorted(names) == sorted(re.findall(r"(\w+)=", example))


def test_the_variables_of_the_environment_are_those_that_the_package_reads() -> None:
    package = Path(pytest_robustness.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert named(sections("pytest.md")["Environment"]) == sorted(
        set(re.findall(r"environ(?:ment)?\.get\(\"(\w+)\"", code))
    )


class Marked:
    """A test with this marker."""

    name = "test_marked"

    def __init__(self, given: str) -> None:
        self._mark = eval(f"pytest.mark.robustness({given})", {"pytest": pytest}).mark

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [self._mark] if name == "robustness" else []


def test_every_public_name_is_in_one_group() -> None:
    grouped = [name for text in sections("names.md").values() for name in re.findall("^### (.*)$", text, flags=re.M)]
    assert sorted(grouped) == sorted(pytest_robustness.__all__)
    assert list(sections("names.md"))[:-1] == list(reference.GROUPS)


def test_every_assertion_and_measurement_is_there() -> None:
    public = [name for name in dir(Robustness) if not name.startswith("_")]
    below = {
        head: re.findall("^### (.*)$", text, flags=re.MULTILINE) for head, text in sections("robustness.md").items()
    }
    assert below["Assertions"] == [name for name in public if name.startswith("assert_")]
    assert below["Measurements"] == [name for name in public if not name.startswith("assert_")]


def calls() -> dict[str, tuple[str, Callable[..., Any]]]:
    """The signatures of both pages, with what they are of."""
    found = {}
    for page, owner in (("names.md", pytest_robustness), ("robustness.md", Robustness)):
        for name, text in sections(page, "###").items():
            if hasattr(owner, name) and (block := re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)):
                found[f"{page}: {name}"] = block[1], getattr(owner, name)
    return found


CALLS = calls()


@pytest.mark.parametrize("name", CALLS)
def test_a_signature_has_the_arguments_and_defaults_of_the_code(name: str) -> None:
    """Read back from the page, and held against what Python says."""
    text, call = CALLS[name]
    (function,) = ast.parse(f"def {text.removeprefix('robustness.').strip()}: ...").body
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    told = {own.arg: None for own in [*given.args, *filter(None, [given.vararg]), *given.kwonlyargs]}
    if name == "names.md: InputError":
        assert list(told) == ["message"]
        return
    expected = inspect.signature(call).parameters
    assert list(told) == [own for own in expected if own != "self"]
    assert {own.arg for own in given.kwonlyargs} == {
        own.name for own in expected.values() if own.kind is own.KEYWORD_ONLY
    }
    names = names_of(call)
    defaults = [*zip(given.args[len(given.args) - len(given.defaults) :], given.defaults, strict=True)]
    defaults += [(own, value) for own, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value]
    found = {own.arg: eval(ast.unparse(value), names) for own, value in defaults}
    assert found == {own.name: own.default for own in expected.values() if own.default is not own.empty}


def names_of(call: Callable[..., Any]) -> dict[str, Any]:
    """What the module of a function, or those of a class and its bases, know."""
    homes = [own.__module__ for own in reversed(inspect.getmro(call))] if isinstance(call, type) else [call.__module__]
    return {name: value for home in homes for name, value in vars(__import__(home, fromlist=["_"])).items()}


def test_what_measurements_return_has_the_fields_that_a_reader_finds() -> None:
    for name, text in sections("robustness.md", "###").items():
        if name.startswith("assert_") or hasattr(Robustness, name):
            continue
        made = next(own for _, call in CALLS.values() for own in returned(call) if own.__name__ == name)
        for attribute in named(text):
            own = attribute.removeprefix(".").partition(":")[0].partition("(")[0]
            assert hasattr(made, own) or own in inspect.get_annotations(made), f"{name}.{own}"


@pytest.mark.parametrize("page", ["names.md", "robustness.md"])
def test_every_contract_is_a_sentence(page: str) -> None:
    for name, text in sections(page, "###").items():
        first = text.strip().partition("\n")[0]
        assert re.search(r"\.\)?$", first), f"{name}: {first}"
        for *_, about in cells(text):
            assert not about or about.endswith("."), f"{name}: {about}"


def test_every_key_of_a_file_of_gates_is_there() -> None:
    file, model, images, gates, names, *_ = sections("yaml.md").values()
    assert named(file) == list(SECTIONS)
    assert re.findall(r"`(\w+)`", file.partition("one run alone")[2]) == list(run_options())
    assert named(model) == list(model_settings())
    assert named(images) == list(image_settings())
    common, table = (part for part in gates.split("| `assert` | one test"))
    assert named(common) == list(COMMON)
    told = {row[0].partition("]")[0].strip("["): row[1:] for row in cells(f"| `assert` | one test{table}")}
    assert list(told) == sorted(kinds())
    for name, kind in kinds().items():
        each, needs, may = told[name]
        assert each == ("each image" if kind.per_image else "all images")
        expected: Mapping[bool, list[str]] = {
            required: [own.name for own in kind.parameters.values() if own.required is required]
            for required in (True, False)
        }
        assert re.findall(r"`(\w+)", needs) == expected[True]
        assert re.findall(r"`(\w+)", may) == expected[False]
    assert sorted(re.findall(r"\[(\w+)\]\(names", names)) == sorted(constructors())


def test_every_field_of_results_is_there() -> None:
    schema = json.loads(schema_text())
    records = {"Results": schema, **schema["$defs"]}
    assert {name: named(text) for name, text in sections("results.md").items()} == {
        name: list(record["properties"]) for name, record in records.items()
    }


def test_every_command_has_the_arguments_that_its_help_has(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {name: text for name, text in sections("commands.md").items() if name != "Exit status"}
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    listed = re.findall(r"^    (\w+)  ", capsys.readouterr().out, flags=re.MULTILINE)
    assert list(commands) == listed
    for name, text in commands.items():
        with pytest.raises(SystemExit):
            __main__.main([name, "--help"])
        told = capsys.readouterr().out.partition("\n\n")[2]
        own = re.findall(r"^  (?!-h)(-?[\w-]+)", told, flags=re.MULTILINE)
        assert [re.split(r"[ ,]", argument)[0] for argument in named(text)] == own

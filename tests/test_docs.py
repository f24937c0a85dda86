"""What the documentation says is true: snippets run, tables are complete, links lead somewhere."""

import ast
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import pytest_robustness
import pytest_robustness.attacks as attack_names
from pytest_robustness.__main__ import main
from pytest_robustness.config.documents import SECTIONS
from pytest_robustness.config.gates import COMMON, kinds
from pytest_robustness.doubts import CHECKS
from pytest_robustness.formats import FORMATS as KNOWN
from pytest_robustness.results import Results
from pytest_robustness.settings import OPTIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STRESSES = (ROOT / "docs" / "stresses.md").read_text(encoding="utf-8")
SHARDING = (ROOT / "docs" / "sharding.md").read_text(encoding="utf-8")
ATTACKS = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
DEFENSES = (ROOT / "docs" / "defenses.md").read_text(encoding="utf-8")
EXPLANATIONS = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
IMAGES = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
BASELINES = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
MODIFY = (ROOT / "docs" / "modify_and_mimic.md").read_text(encoding="utf-8")
YAML = (ROOT / "docs" / "yaml.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_readmes_project_runs_as_it_stands(project: pytest.Pytester) -> None:
    conftest, tests, _ = BLOCKS
    (project.path / "conftest.py").write_text(conftest, encoding="utf-8")
    (project.path / "test_release.py").write_text(tests, encoding="utf-8")
    # Folders sort as bright, dark here: the model's two classes the other way round.
    (project.path / "my_project.py").write_text(
        "from brightness import Brightness\n"
        "def load_model():\n"
        "    return lambda images: Brightness()(images).flip(1)\n",
        encoding="utf-8",
    )
    (project.path / "white.png").rename(project.path / "zebra.png")
    result = project.runpytest_inprocess(
        "-p", "no:randomly", "--robustness-report=reports/robustness.html", "--robustness-json=reports/robustness.json"
    )
    # Of the six pictures only the darkest grey turns bright under a white "zebra" at 0.25.
    assert [line for line in result.outlines if line.startswith("FAILED")] == [
        line
        for line in result.outlines
        if line.startswith("FAILED test_release.py::test_top1_holds_under_zebra[dark_2]")
    ]
    result.assert_outcomes(passed=13, failed=1)
    assert (project.path / "reports" / "robustness.html").exists()


def test_the_readmes_notebook_runs_as_it_stands(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project.path))
    from brightness import Brightness

    names: dict[str, object] = {"model": lambda images: Brightness()(images).flip(1)}
    exec(BLOCKS[2], names)
    assert isinstance(names["robustness"], pytest_robustness.Robustness)


def test_the_tests_of_the_page_on_stresses_run_as_they_stand(project: pytest.Pytester) -> None:
    """On six pictures in place of an elephant and a zebra: what is wanted of them may not hold, but all of it runs."""
    project.makeconftest((project.path / "conftest.py").read_text(encoding="utf-8"))
    blocks = re.findall(r"```python\n(.*?)```", STRESSES, flags=re.DOTALL)
    image = sorted((project.path / "images").rglob("*.png"))[0].relative_to(project.path / "images").as_posix()
    text = "\n".join(blocks).replace("elephant.jpg", image).replace("zebra.png", "white.png")
    # AlexNet's errors are those of another 1000 classes.
    (project.path / "test_stresses.py").write_text(text.replace("at_most=0.75", "at_most=0.75, normalizer=None"))
    result = project.runpytest_inprocess("-p", "no:randomly", "test_stresses.py")
    found = result.parseoutcomes()
    assert found.get("passed", 0) + found.get("failed", 0) == 5
    assert "expected" not in result.stdout.str()


def test_the_tests_of_the_page_on_attacks_run_as_they_stand(project: pytest.Pytester) -> None:
    """On six grey pictures, of two classes: what is wanted of them may not hold, but all of it runs."""
    pytest.importorskip("torchattacks")
    text = (project.path / "conftest.py").read_text(encoding="utf-8")
    text += "\n@pytest.fixture\ndef old_model():\n    return lambda images: Brightness()(images) + 0.5\n"
    (project.path / "conftest.py").write_text(text, encoding="utf-8")
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", ATTACKS, flags=re.DOTALL))
    (project.path / "test_attacks.py").write_text(blocks.replace("like(queries=50)", "like(queries=50, classes=2)"))
    warnings = ("-W", "ignore:loss:UserWarning")
    result = project.runpytest_inprocess("-p", "no:randomly", *warnings, "-s", "test_attacks.py")
    result.assert_outcomes(passed=7)
    assert "epsilon  " in result.stdout.str()


def test_the_jobs_of_the_page_on_sharding_run_as_they_stand(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one machine: the pytest command once for each shard, and the merge over what they leave."""
    _, tests, _ = BLOCKS
    (pairs,) = re.findall(r"```python\n(.*?)```", SHARDING, flags=re.DOTALL)
    (project.path / "test_release.py").write_text(tests, encoding="utf-8")
    (project.path / "test_pairs.py").write_text(pairs, encoding="utf-8")
    (project.path / "white.png").rename(project.path / "zebra.png")
    (workflow,) = re.findall(r"```yaml\n(.*?)```", SHARDING, flags=re.DOTALL)
    jobs = yaml.safe_load(workflow)["jobs"]
    shards = jobs["shard"]["strategy"]["matrix"]["shard"]
    assert shards == list(range(1, len(shards) + 1))
    _, command = (step["run"] for step in jobs["shard"]["steps"] if "run" in step)
    _, merge = (step["run"] for step in jobs["release"]["steps"] if "run" in step)
    for shard in shards:
        program, *arguments = command.replace("${{ matrix.shard }}", str(shard)).split()
        assert program == "pytest"
        project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)
    *program, pattern, output, results, report, page = merge.split()
    assert program == ["python", "-m", "pytest_robustness", "merge"]
    monkeypatch.chdir(project.path)
    files = [path.name for path in project.path.glob(pattern)]
    assert len(files) == len(shards)
    assert main(["merge", *files, output, results, report, page]) in (0, 1)
    whole = Results.from_json((project.path / results).read_text(encoding="utf-8"))
    assert whole.complete
    assert [v.status for v in whole.verdicts if v.gate == "modify-rate"] == ["pass"]
    assert (project.path / page).exists()


def test_the_commands_of_the_page_on_baselines_lead_from_the_first_run_to_the_release(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created and failed, green, a model that fell back refused, and what is meant taken over."""
    (tests,) = re.findall(r"```python\n(.*?)```", BASELINES, flags=re.DOTALL)
    first, ci, update, compare, corpus = re.findall(r"```\n((?:pytest|python) .*?)\n```", BASELINES, flags=re.DOTALL)
    (project.path / "test_release.py").write_text(tests, encoding="utf-8")
    (project.path / "white.png").rename(project.path / "zebra.png")

    def run(command: str, *more: str) -> pytest.RunResult:
        program, *arguments = command.split()
        assert program == "pytest"
        return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments, *more)

    created = run(first)
    assert "created robustness-baselines/release.json from 2 tests: commit it and run again," in created.outlines
    # Of the six pictures dark_2 is bright under a quarter of white.
    assert [run(first).ret, run(ci, "--robustness-json=results.json").ret] == [0, 0]
    monkeypatch.chdir(project.path)
    program, module, *arguments = compare.split()[1:]
    assert (program, module) == ("-m", "pytest_robustness")
    assert main(arguments) == 0
    path = project.path / "brightness.py"
    path.write_text(path.read_text(encoding="utf-8").replace("- 0.5)", "- 0.35)"), encoding="utf-8")
    assert run(ci, "--robustness-json=results.json").ret == 1
    assert main(arguments) == 1
    assert [run(update).ret, run(ci).ret] == [1, 0]
    assert run(corpus, "--robustness-baseline=release").ret == 0


def test_the_tests_of_the_page_on_defenses_run_as_they_stand(project: pytest.Pytester) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DEFENSES, flags=re.DOTALL)
    (project.path / "test_defenses.py").write_text(block, encoding="utf-8")
    result = project.runpytest_inprocess("-p", "no:randomly", "-s", "test_defenses.py")
    result.assert_outcomes(passed=5 + 6)
    result.stdout.fnmatch_lines(["sigma         none    single    double  majority*", "*L2 radius  certified accuracy"])


def test_the_tests_of_the_page_on_explanations_run_as_they_stand(project: pytest.Pytester) -> None:
    """On grey pictures, in which there is nothing to look at: what is wanted of them may not hold, but all of it runs."""
    (block,) = re.findall(r"```python\n(.*?)```", EXPLANATIONS, flags=re.DOTALL)
    (project.path / "test_explanations.py").write_text(block.replace("elephant.jpg", "bright/bright_0.png"))
    result = project.runpytest_inprocess("-p", "no:randomly", "-s", "test_explanations.py")
    found = result.parseoutcomes()
    assert found.get("passed", 0) + found.get("failed", 0) == 4
    result.stdout.fnmatch_lines(["*bright/bright_0.png under GaussianNoise() at sigma 0.05, by Lime()"])
    assert "expected" not in result.stdout.str()


def test_the_tests_of_the_page_on_images_run_as_they_stand(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    (block,) = re.findall(r"```python\n(.*?)```", IMAGES, flags=re.DOTALL)
    (project.path / "test_images_page.py").write_text(block, encoding="utf-8")
    project.runpytest_inprocess("-p", "no:randomly", "test_images_page.py").assert_outcomes(passed=3)


def test_the_tests_of_the_page_on_modify_and_mimic_run_as_they_stand(project: pytest.Pytester) -> None:
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", MODIFY, flags=re.DOTALL))
    (project.path / "test_modify_and_mimic.py").write_text(blocks, encoding="utf-8")
    result = project.runpytest_inprocess("-p", "no:randomly", "-s", "test_modify_and_mimic.py")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*class*modify rate*mimic rate", "correlation of the two: none"])


def test_the_page_on_formats_shows_what_is_printed_and_written(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tests,) = re.findall(r"```python\n(.*?)```", FORMATS, flags=re.DOTALL)
    (commands,) = re.findall(r"```console\n(.*?)```", FORMATS, flags=re.DOTALL)
    (project.path / "test_release.py").write_text(tests, encoding="utf-8")
    (project.path / "white.png").rename(project.path / "zebra.png")
    run, report = (line.split() for line in commands.splitlines())
    shown = (
        project.runpytest_inprocess("-p", "no:randomly", *run[1:]).stdout.str().translate(str.maketrans("│└─┊", "|+-:"))
    )
    monkeypatch.chdir(project.path)
    assert main(report[3:]) == 1
    written = [project.path / name for name in ("metrics.json", "metrics.prom", "card.md", "junit.xml")]
    text = "\n".join([shown, *(path.read_text(encoding="utf-8") for path in written)]).replace("&gt;", ">")
    blocks = re.findall(r"```(?:text|json|yaml|xml)\n(.*?)\n```", FORMATS, flags=re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        assert block in text, block
    assert capsys.readouterr().out.endswith("openmetrics: metrics.prom\nmodel card: card.md\n")


def test_the_page_on_formats_names_every_format() -> None:
    rows = re.findall(r"^\| `--robustness-([a-z-]+)=", FORMATS, flags=re.MULTILINE)
    assert rows == [known.name for known in KNOWN]


def test_the_readme_counts_right() -> None:
    assertions = [name for name in dir(pytest_robustness.Robustness) if name.startswith("assert_")]
    assert f"There are {len(assertions)} assertions" in README
    assert f"| {len(CHECKS)}, and the gate is not green |" in README
    attacks = [
        name for name, kind in vars(attack_names).items() if isinstance(kind, type) and name in attack_names.__all__
    ]
    own = set(attacks) - {"Miss", "Mimic", "Oblivious", "WorstCase"}
    assert f"| attacks | {len(own)}, cascades of them, and theirs |" in README


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "fixtures/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), target
        assert not heading or heading in headings(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CONTRIBUTING.md"])
def test_options_and_calls_that_a_page_shows_are_those_that_there_are(page: str) -> None:
    """An argument without a value stands for any: `accuracy(stress, strength=)`; three dots for the rest."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"--robustness-([a-z]+(?:-[a-z]+)*)", text)) <= {option.name for option in OPTIONS}
    for name in re.findall(r"\brobustness\.(\w+)\(", text):
        assert hasattr(pytest_robustness.Robustness, name), name
    for code in re.findall(r"`([^`\n]+)`", text):
        for name, arguments in shown_calls(code):
            public = name in pytest_robustness.__all__
            call = getattr(pytest_robustness if public else pytest_robustness.Robustness, name, None)
            if public or call is not None:
                assert set(arguments) <= {*inspect.signature(call).parameters}, code


def shown_calls(code: str) -> Iterator[tuple[str, list[str]]]:
    """The calls in a piece of code with the arguments that they name; none of what is no code."""
    try:
        tree = ast.parse(re.sub(r"=(?=[,)])", "=0", re.sub(r"\.\.\.(?=\))", "**more", code)), mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            yield name, [own.arg for own in node.keywords if own.arg is not None]


def headings(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", own.lower()).replace(" ", "-") for own in found}


def test_the_page_on_limits_says_of_every_assertion_who_attacks() -> None:
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs" / "limits.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = re.findall(r"`(assert_\w+)`", " ".join(rows))
    assert sorted(told) == sorted(name for name in dir(pytest_robustness.Robustness) if name.startswith("assert_"))


def test_make_help_lists_every_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_page_on_trust_names_every_check_and_its_test_runs_as_it_stands(project: pytest.Pytester) -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.MULTILINE)) == CHECKS
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (project.path / "test_trusted.py").write_text(block, encoding="utf-8")
    project.runpytest_inprocess("-p", "no:randomly", "test_trusted.py").assert_outcomes(passed=1)


def test_the_files_of_the_page_on_yaml_run_as_they_stand(project: pytest.Pytester) -> None:
    """On six grey pictures: what is wanted of them may not hold, but all of it runs."""
    (project.path / "conftest.py").unlink()
    project.makeini("[pytest]\naddopts = --strict-markers\nmarkers = slow: takes long\n")
    (project.path / "white.png").rename(project.path / "zebra.png")
    # Folders sort as bright, dark: the model's two classes the other way round.
    (project.path / "my_project.py").write_text(
        "import torch\nfrom brightness import Brightness\nfrom pytest_robustness import GaussianNoise\n"
        "class Model(torch.nn.Module):\n    def forward(self, images): return Brightness()(images).flip(1)\n"
        "def load_model(): return Model()\nHAZE = GaussianNoise()\n",
        encoding="utf-8",
    )
    first, objects, base, release = re.findall(r"```yaml\n(.*?)```", YAML, flags=re.DOTALL)
    texts = {"robustness": first, "objects.robustness": objects, "base": base, "release.robustness": release}
    for name, text in texts.items():
        (project.path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (block,) = re.findall(r"```\n(pytest .*?)```", YAML, flags=re.DOTALL)
    counts = {}
    for command in block.splitlines():
        result = project.runpytest_inprocess("-p", "no:randomly", *shlex.split(command)[1:])
        counts[command] = sum(result.parseoutcomes().get(own, 0) for own in ("passed", "failed"))
        assert "error" not in result.parseoutcomes()
    assert list(counts.values()) == [6 + 1 + 3, 6, 7, 1]
    for name, number in (("objects.robustness", 8), ("release.robustness", 2)):
        result = project.runpytest_inprocess("-p", "no:randomly", f"{name}.yaml", "--robustness-json=out.json")
        found = result.parseoutcomes()
        assert found.get("passed", 0) + found.get("failed", 0) == number
        results = Results.from_json((project.path / "out.json").read_text(encoding="utf-8"))
        assert [own.reason for own in results.verdicts if own.status == "error"] == []
    assert results.profile == "release"


def test_the_page_on_starting_shows_what_is_printed_and_ends_green(
    project: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    page = (ROOT / "docs" / "starting.md").read_text(encoding="utf-8")
    (project.path / "conftest.py").unlink()
    (project.path / "images").rename(project.path / "photos")
    (project.path / "white.png").rename(project.path / "zebra.png")
    (project.path / "my_project.py").write_text(
        "import torch\nfrom brightness import Brightness\n"
        "class Model(torch.nn.Module):\n    def forward(self, images): return Brightness()(images).flip(1)\n"
        "def load_model(): return Model()\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(project.path)
    # Which source files the name of an answer depends on is tested elsewhere, and takes most of the time.
    monkeypatch.setattr("pytest_robustness.fingerprint._code", lambda modules: b"")
    # Other pages have another module of this name.
    sys.modules.pop("my_project", None)
    request.addfinalizer(lambda: sys.modules.pop("my_project", None))
    init, run, measure = (line.split() for line in re.findall(r"```console\n(.*?)\n```", page))
    assert main(init[3:]) == 0
    printed = [capsys.readouterr().out]
    project.runpytest_inprocess("-p", "no:randomly", *run[1:]).assert_outcomes(passed=6)
    capsys.readouterr()
    assert main(measure[3:]) == 0
    printed.append(capsys.readouterr().out)
    assert re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL) == printed
    (gates,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert gates in (project.path / "proposed.yaml").read_text(encoding="utf-8")


def test_the_page_on_starting_names_every_option_of_init(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "starting.md").read_text(encoding="utf-8")
    for command in ("init", "measure"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        for option in re.findall(r"(--[a-z]+)", capsys.readouterr().out):
            assert option == "--help" or option in page, option


def test_the_page_on_yaml_has_every_gate_with_its_arguments() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (`.*` |)\| (.*)\|$", YAML, flags=re.MULTILINE)
    told = {name: (re.findall("`(.+?)`", needs), re.findall("`(.+?)`", may)) for name, needs, may in rows}
    assert told == {
        name: (
            [own.name for own in kind.parameters.values() if own.required],
            [own.name for own in kind.parameters.values() if not own.required],
        )
        for name, kind in kinds().items()
    }
    for key in (*COMMON, *SECTIONS):
        assert f"`{key}`" in YAML, key

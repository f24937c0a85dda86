"""The architecture as tests: imports go downwards, one door per library, nothing heavy at start, true exports."""

import ast
import functools
import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_robustness

PACKAGE = Path(pytest_robustness.__file__).parent

# A module may import modules of lower floors only.
FLOORS = {
    "__main__": 25,
    "charts": 0,
    "config": 0,
    "config.collecting": 20,
    "config.declared": 20,
    "config.documents": 19,
    "config.extending": 3,
    "config.gates": 18,
    "config.hooks": 21,
    "config.options": 17,
    "config.reading": 2,
    "config.registry": 16,
    "config.schema": 20,
    "config.values": 17,
    "nodeids": 0,
    "comparisons": 1,
    "comparing": 3,
    "corpus": 3,
    "baseline_gates": 4,
    "baselines": 11,
    "bounds": 2,
    "errors": 0,
    "formats": 3,
    "remedies": 2,
    "results": 2,
    "schema": 3,
    "settings": 16,
    "explained": 0,
    "explainers": 9,
    "explaining": 13,
    "explanation_gates": 4,
    "explanations": 8,
    "explanations.anchors": 7,
    "explanations.draws": 6,
    "explanations.grad_cam": 5,
    "explanations.heat": 3,
    "explanations.hiding": 5,
    "explanations.lime": 6,
    "explanations.precision": 3,
    "explanations.rollout": 5,
    "explanations.segments": 4,
    "gallery": 2,
    "merging": 10,
    "preprocessing": 1,
    "profiles": 0,
    "recent": 0,
    "shards": 0,
    "sharing": 7,
    "sources": 0,
    "fingerprint": 1,
    "changes": 1,
    "folding": 1,
    "restoring": 1,
    "records": 1,
    "traces": 0,
    "seeding": 1,
    "stats": 1,
    "corruption_error": 1,
    "accuracy_curves": 3,
    "cache": 2,
    "classes": 2,
    "curves": 2,
    "matrices": 3,
    "rate_gates": 4,
    "rates": 2,
    "doubts": 3,
    "measurements": 2,
    "types": 2,
    "cases": 3,
    "gates": 3,
    "strength_gates": 4,
    "norms": 3,
    "perturbations.borders": 3,
    "perturbations.choices": 3,
    "perturbations.lines": 3,
    "images": 3,
    "running": 3,
    "attacks.naming": 0,
    "attacks.families": 3,
    "attacks.objectives": 3,
    "attacks.settings": 3,
    "attacks.goals": 4,
    "attacks.problem": 4,
    "attacks.apgd": 5,
    "attacks.fmn": 5,
    "attacks.gradient": 5,
    "attacks.accounting": 4,
    "attacks.oblivious": 3,
    "attacks.recording": 5,
    "attacks.foreign": 6,
    "attacks.square": 5,
    "attacks.steps": 5,
    "contents": 1,
    "documents": 1,
    "image_sets": 4,
    "hub_datasets": 5,
    "image_sources": 7,
    "loading": 5,
    "manifests": 6,
    "map_datasets": 5,
    "tars": 6,
    "perturbations.blending": 4,
    "perturbations.blur": 4,
    "perturbations.colour": 4,
    "perturbations.composing": 4,
    "perturbations.digital": 4,
    "perturbations.foreign": 4,
    "perturbations.geometry": 4,
    "perturbations.native": 4,
    "perturbations.noise": 4,
    "corruptions.blocks": 3,
    "corruptions.blurs": 5,
    "corruptions.colour": 3,
    "corruptions.elastic": 3,
    "corruptions.ice": 3,
    "corruptions.splashes": 5,
    "corruptions.table": 0,
    "corruptions.weather": 6,
    "attacks.worst_case": 7,
    "attacks": 8,
    "perturbations": 6,
    "corruptions": 7,
    "perturbations.zooming": 5,
    "certificates": 4,
    "defending": 12,
    "defenses": 7,
    "defenses.elections": 3,
    "defenses.filters": 5,
    "defenses.smoothing": 6,
    "defenses.voting": 6,
    "judging": 14,
    "asserting": 15,
    "releasing": 16,
    "vote_gates": 4,
    "vote_tables": 2,
    "answers": 6,
    "memory": 3,
    "devices": 6,
    "models": 6,
    "models.exported": 4,
    "models.libraries": 4,
    "models.loaded": 3,
    "models.sources": 5,
    "models.states": 2,
    "models.wanted": 2,
    "pairing": 7,
    "provenance": 6,
    "stressing": 5,
    "engine": 8,
    "settling": 7,
    "report": 7,
    "readings": 3,
    "search": 9,
    "tracing": 10,
    "pairs": 5,
    "trust": 10,
    "views": 10,
    "measuring": 11,
    "model_checks": 9,
    "robustness": 17,
    "report.labels": 8,
    "report.changes": 9,
    "report.curves": 9,
    "report.heat_map": 9,
    "report.lines": 9,
    "report.numbers": 9,
    "report.rates": 9,
    "report.matrices": 10,
    "report.summary": 8,
    "report.releases": 8,
    "report.markdown": 9,
    "report.charts": 10,
    "report.junit": 8,
    "report.pytest_html": 9,
    "report.metrics": 10,
    "report.model_card": 10,
    "report.openmetrics": 10,
    "report.series": 9,
    "report.text": 11,
    "report.text_charts": 8,
    "report.html": 11,
    "report.files": 12,
    "keeping": 17,
    "replaying": 17,
    "choosing": 8,
    "distribution": 8,
    "progress": 8,
    "reporting": 18,
    "scheduling": 7,
    "session": 19,
    "plugin": 22,
    "starting": 0,
    "starting.commands": 24,
    "starting.drafting": 22,
    "starting.files": 2,
    "starting.finding": 6,
    "starting.init": 23,
    "starting.measure": 22,
    "starting.proposing": 18,
    "starting.subject": 20,
    "starting.trials": 9,
    "starting.trying": 21,
}

# What stands for each library that is not meant to spread.
DOORS = {
    "PIL": {"images"},
    "scipy": {"stats"},
    "skimage": {"explanations.segments"},
    "jinja2": {"report.html"},
    "numpy": {"attacks.recording", "images", "perturbations.foreign"},
    "zipfile": {"models.exported"},
    "foolbox": {"attacks.families"},
    "art": {"attacks.families"},
    "torchattacks": {"attacks.worst_case"},
    "pytest": {
        "choosing",
        "config.collecting",
        "config.hooks",
        "distribution",
        "keeping",
        "plugin",
        "replaying",
        "report.pytest_html",
        "reporting",
        "scheduling",
        "session",
        "settings",
        "sharing",
    },
    "pytest_html": {"report.pytest_html"},
    "datasets": {"hub_datasets"},
    "yaml": {"config.reading", "documents"},
    "_pytest": {"reporting"},
    "xdist": {"distribution", "keeping", "replaying", "scheduling", "sharing"},
}

# The records half has to work where torch is not installed.
RECORDS_HALF = {
    "accuracy_curves",
    "baseline_gates",
    "baselines",
    "bounds",
    "strength_gates",
    "certificates",
    "charts",
    "comparing",
    "comparisons",
    "corpus",
    "nodeids",
    "errors",
    "formats",
    "remedies",
    "profiles",
    "results",
    "schema",
    "explained",
    "explanation_gates",
    "vote_gates",
    "vote_tables",
    "cache",
    "corruption_error",
    "curves",
    "records",
    "stats",
    "traces",
    "matrices",
    "measurements",
    "rate_gates",
    "rates",
    "gates",
    "classes",
    "documents",
    "doubts",
    "gallery",
    "merging",
    "report",
    "report.changes",
    "report.curves",
    "report.files",
    "report.heat_map",
    "report.labels",
    "report.lines",
    "report.markdown",
    "report.matrices",
    "report.numbers",
    "report.rates",
    "report.releases",
    "shards",
    "report.summary",
    "report.charts",
    "report.junit",
    "report.metrics",
    "report.model_card",
    "report.openmetrics",
    "report.series",
    "report.text",
    "report.text_charts",
    "report.html",
}
HEAVY = {
    "torch",
    "torchvision",
    "kornia",
    "numpy",
    "PIL",
    "scipy",
    "jinja2",
    "matplotlib",
    "pytest_html",
    "yaml",
    "datasets",
}


@functools.cache
def modules() -> dict[str, ast.Module]:
    names = [info.name for info in pkgutil.walk_packages([str(PACKAGE)])]
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    assert names
    return found


def imports(tree: ast.Module) -> set[str]:
    """Every module that is imported, at the top or inside a function, `from` or not."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(str(node.module))
    return found


def own(names: set[str]) -> set[str]:
    return {name.removeprefix("pytest_robustness.") for name in names if name.startswith("pytest_robustness.")}


def test_every_module_has_a_floor() -> None:
    assert set(modules()) == set(FLOORS)


@pytest.mark.parametrize("name", FLOORS)
def test_imports_go_downwards(name: str) -> None:
    upwards = {other for other in own(imports(modules()[name])) if FLOORS[other] >= FLOORS[name]}
    assert not upwards


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = {name for name, tree in modules().items() if any(i.partition(".")[0] == library for i in imports(tree))}
    assert users == DOORS[library]


def test_the_records_half_imports_no_tensors() -> None:
    for name in RECORDS_HALF:
        used = imports(modules()[name])
        assert not {i for i in used if i.partition(".")[0] == "torch"}, name
        assert own(used) <= RECORDS_HALF, name


def test_a_module_has_at_most_about_400_lines() -> None:
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text(encoding="utf-8").splitlines())) > 420}
    assert not long


def test_all_of_a_module_exists_and_is_sorted() -> None:
    for name in FLOORS:
        module = importlib.import_module(f"pytest_robustness.{name}")
        exported = getattr(module, "__all__", None)
        if exported is not None:
            assert all(hasattr(module, entry) for entry in exported), name


def test_every_public_function_and_class_of_a_module_is_in_its_all() -> None:
    for name, tree in modules().items():
        if name in ("plugin", "attacks", "report"):
            continue
        defined = {
            node.name
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        }
        assert defined <= set(importlib.import_module(f"pytest_robustness.{name}").__all__), name


def test_the_package_exports_what_it_says_from_where_it_says() -> None:
    assert set(pytest_robustness.__all__) == set(pytest_robustness._HOMES)
    for name, home in pytest_robustness._HOMES.items():
        assert getattr(pytest_robustness, name) is getattr(importlib.import_module(f"pytest_robustness.{home}"), name)
    assert set(pytest_robustness.__all__) <= set(dir(pytest_robustness))


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'pytest_robustness' has no attribute 'FGSN'$"):
        _ = pytest_robustness.FGSN


def test_the_plugin_is_one_entry_point_called_robustness() -> None:
    (entry,) = (
        point
        for point in importlib.metadata.entry_points(group="pytest11")
        if point.value.startswith("pytest_robustness")
    )
    assert (entry.name, entry.value) == ("robustness", "pytest_robustness.plugin")


def test_a_session_without_robustness_tests_loads_nothing_heavy(tmp_path: Path) -> None:
    """At start and at the end, in a process of its own, with this plugin alone."""
    (tmp_path / "test_plain.py").write_text(
        "import sys\n"
        f"HEAVY = {sorted(HEAVY)!r}\n"
        "def test_plain():\n"
        "    assert 'pytest_robustness.plugin' in sys.modules\n"
        "    assert not set(HEAVY) & set(sys.modules)\n",
        encoding="utf-8",
    )
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure(config):\n"
        f"    heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "    print('loaded at the end:', heavy)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_robustness.plugin", "--robustness-json=out.json"],
        cwd=tmp_path,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loaded at the end: []" in done.stdout


@pytest.mark.parametrize("module", ["pytest_robustness", "pytest_robustness.plugin"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

"""The pages that say how to do something: what they show runs as it stands, and the index leads to every page."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page(name), flags=re.DOTALL)


def test_the_tests_of_the_page_on_groups_run_as_they_stand(project: pytest.Pytester) -> None:
    (manifest,), (tests,) = blocks("howto-groups.md", "csv"), blocks("howto-groups.md", "python")
    (project.path / "photos.csv").write_text(manifest, encoding="utf-8")
    (project.path / "test_groups.py").write_text(tests, encoding="utf-8")
    project.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=3 + 2 + 1)


def test_the_run_of_the_page_on_gpus_runs_on_a_cpu(project: pytest.Pytester) -> None:
    (workflow,) = blocks("howto-gpu.md", "yaml")
    steps = yaml.safe_load(workflow)["jobs"]["robustness"]["steps"]
    (run,) = (step["run"] for step in steps if step.get("run", "").startswith("pytest"))
    project.makepyfile(
        test_release="""
        import pytest
        @pytest.mark.parametrize("number", range(3))
        def test_clean(robustness, number):
            robustness.assert_accuracy(at_least=0.9)
        """
    )
    program, *arguments = shlex.split(run)
    assert program == "pytest"
    refused = project.runpytest_inprocess("--robustness-device=cpu", *arguments)
    refused.assert_outcomes(errors=3)
    there = [argument.replace("device=cuda", "device=cpu") for argument in arguments]
    project.runpytest_inprocess("--robustness-device=cpu", *there).assert_outcomes(passed=3)
    uploaded = steps[-1]["with"]["path"].split()
    assert all((project.path / name).exists() for name in uploaded)


def test_the_parts_of_ones_own_run_as_they_stand(project: pytest.Pytester) -> None:
    (tests,) = blocks("howto-own-parts.md", "python")
    (project.path / "test_own_parts.py").write_text(tests, encoding="utf-8")
    project.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=4)


def test_a_model_that_fails_is_held_by_the_page_on_adopting(project: pytest.Pytester) -> None:
    """Six grey pictures, of which one turns bright under the overlay and noise: red once for the baseline, then green."""
    (tests,), (commands,) = (
        blocks("howto-adopt.md", "python"),
        re.findall(r"```\n(pytest .*?)```", page("howto-adopt.md"), re.DOTALL),
    )
    (project.path / "test_release.py").write_text(tests, encoding="utf-8")
    (project.path / "white.png").rename(project.path / "zebra.png")
    first, second = (shlex.split(line)[1:] for line in commands.splitlines())
    result = project.runpytest_inprocess("-p", "no:randomly", *first)
    result.assert_outcomes(passed=3, failed=1, xfailed=1)
    assert result.ret == 1
    result = project.runpytest_inprocess("-p", "no:randomly", *second)
    result.assert_outcomes(passed=4, xfailed=1)
    assert result.ret == 0
    assert (project.path / "report.html").exists()


def test_the_gate_of_the_page_on_architecture_runs_as_it_stands(project: pytest.Pytester) -> None:
    (tests,) = blocks("architecture.md", "python")
    (project.path / "test_gate.py").write_text(tests, encoding="utf-8")
    project.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=6 + 1)


def test_the_page_on_the_report_has_its_sections_in_order() -> None:
    template = ROOT / "pytest_robustness" / "report" / "templates" / "robustness.html.j2"
    sections = re.findall(r'<h2 id="\w+">(.*?)</h2>', template.read_text(encoding="utf-8"))
    assert re.findall(r"^\| \*\*(.*?)\*\* \|", page("howto-reading-the-report.md"), flags=re.MULTILINE) == sections


def test_the_index_leads_to_every_page() -> None:
    folder = ROOT / "docs"
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([^)#]+)\)", page("README.md")))

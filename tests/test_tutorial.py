"""The tutorial, followed to the letter on a part of its pictures."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pytest_robustness.__main__ import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SHOP, RULE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
(GATE,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
TEXTS = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
FAILURE, CREATED = (text.splitlines() for text in TEXTS[-2:])
INSTALL, INIT, RUN, MEASURE, STRIPES, BASELINE, AGAIN, JOB = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """What the first step leaves, with three pictures of a class, and four of the elephants."""
    for path in (ROOT / "fixtures" / "images").glob("*/*_00[0-3].png"):
        if path.parent.name == "elephant" or path.stem[-1] != "3":
            there = pytester.path / "photos" / path.parent.name
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, there)
    shutil.copy(ROOT / "fixtures" / "overlays" / "zebra_stripes.png", pytester.path / "zebra.png")
    (pytester.path / "shop.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    # Which source files the name of an answer depends on is tested elsewhere, and takes most of the time.
    monkeypatch.setattr("pytest_robustness.fingerprint._code", lambda modules: b"")
    return pytester


def run(shop: pytest.Pytester, command: str) -> pytest.RunResult:
    return shop.runpytest_inprocess("-p", "no:randomly", *shlex.split(command)[1:])


def test_every_step_does_what_the_page_says(shop: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(INIT)[3:]) == 0
    assert capsys.readouterr().out.endswith("\nready           run pytest --robustness-report=robustness.html\n")
    run(shop, RUN).assert_outcomes(passed=6)
    assert (shop.path / "robustness.html").exists()
    assert main(shlex.split(MEASURE)[3:]) == 0
    assert "overlay, alpha 0.25" in capsys.readouterr().out

    gates = shop.path / "robustness.yaml"
    gates.write_text(gates.read_text(encoding="utf-8") + GATE, encoding="utf-8")
    stripes = run(shop, STRIPES)
    stripes.assert_outcomes(passed=2, failed=2, deselected=6)
    start = stripes.outlines.index(FAILURE[0])
    assert stripes.outlines[start : start + len(FAILURE)] == FAILURE
    gates.write_text(gates.read_text(encoding="utf-8").replace("strength: 10 %", "strength: 5 %"), encoding="utf-8")

    with (shop.path / "test_robustness.py").open("a", encoding="utf-8") as tests:
        tests.write(f"\n\n{RULE}")
    created = run(shop, BASELINE)
    created.assert_outcomes(passed=11)
    assert created.ret == pytest.ExitCode.TESTS_FAILED
    assert [line for line in created.outlines if line in CREATED] == CREATED
    assert run(shop, AGAIN).ret == pytest.ExitCode.OK
    # So few pictures leave some of it undecided at a confidence.
    job = run(shop, JOB)
    assert "profile release: judged at confidence 0.95, deterministic algorithms" in job.outlines
    assert (shop.path / "reports" / "robustness.json").exists()


def test_what_the_first_step_copies_is_there() -> None:
    for line in INSTALL.splitlines():
        if line.startswith("cp "):
            assert (ROOT / line.removeprefix("cp -r ").removeprefix("cp ").split()[0]).exists(), line

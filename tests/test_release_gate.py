"""The example release gate, run as `make gate` runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("model", "status", "verdicts"),
    [("hardened", 0, {"pass": 52}), ("plain", 1, {"fail": 51, "pass": 1})],
)
def test_the_hardened_classifier_passes_and_the_plain_one_fails(
    tmp_path: Path, model: str, status: int, verdicts: dict[str, int]
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "examples/release_gate", "-p", "no:cacheprovider", "-p", "no:randomly"),
            f"--robustness-report={tmp_path / 'robustness.html'}",
            f"--robustness-json={tmp_path / 'robustness.json'}",
        ],
        cwd=ROOT,
        env={**os.environ, "MODEL": model},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    document = json.loads((tmp_path / "robustness.json").read_text(encoding="utf-8"))
    found = [verdict["status"] for verdict in document["verdicts"]]
    assert {status: found.count(status) for status in set(found)} == verdicts
    assert f"report: {tmp_path / 'robustness.html'}" in done.stdout
    assert (tmp_path / "robustness.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_model_that_the_example_does_not_have_is_named_with_those_it_has() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "examples/release_gate", "-k", "fgsm", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "MODEL": "fragile"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "MODEL: expected 'hardened' or 'plain', got 'fragile'" in done.stdout.splitlines()

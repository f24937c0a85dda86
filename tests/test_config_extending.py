"""Files that extend others: what is joined, what stands before what, and which files are refused."""

from pathlib import Path
from typing import Any

import pytest

from pytest_robustness.config.extending import extended
from pytest_robustness.config.reading import Node, Refused


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(**files: str) -> Path:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Path("robustness.yaml")


def plain(node: Node) -> Any:
    if isinstance(node.value, tuple):
        return [plain(own) for own in node.value]
    if isinstance(node.value, dict):
        return {name: plain(entry.value) for name, entry in node.value.items()}
    return node.value


BASE = """
seed: 1
model: a:b
gates:
  fgsm: {assert: accuracy, stress: {FGSM: {norm: l2}}, at_least: 0.4}
  clean: {assert: accuracy, at_least: 0.9}
"""


def test_gates_are_joined_by_name_and_arguments_replaced_as_a_whole() -> None:
    path = written(
        base=BASE,
        robustness="extends: base.yaml\ngates:\n  fgsm: {stress: {PGD: {steps: 5}}}\n  new: {assert: accuracy, at_least: 1}\n",
    )
    assert plain(extended(path)) == {
        "seed": 1,
        "model": "a:b",
        "gates": {
            "fgsm": {"assert": "accuracy", "stress": {"PGD": {"steps": 5}}, "at_least": 0.4},
            "clean": {"assert": "accuracy", "at_least": 0.9},
            "new": {"assert": "accuracy", "at_least": 1},
        },
    }


def test_nothing_takes_out_what_was_inherited() -> None:
    path = written(base=BASE, robustness="extends: base.yaml\nseed:\nmodel: null\ngates: {clean: }\n")
    assert list(plain(extended(path))) == ["gates"]
    assert list(plain(extended(path))["gates"]) == ["fgsm"]


def test_within_a_gate_nothing_is_a_value() -> None:
    path = written(base=BASE, robustness="extends: base.yaml\ngates: {fgsm: {stress: null}}\n")
    assert plain(extended(path))["gates"]["fgsm"] == {"assert": "accuracy", "stress": None, "at_least": 0.4}


def test_a_source_that_was_inherited_is_given_settings() -> None:
    path = written(
        base="model: a:b\nimages: {source: i}\n", robustness="extends: base.yaml\nmodel: {crop: 3}\nimages: j\n"
    )
    assert plain(extended(path)) == {"model": {"source": "a:b", "crop": 3}, "images": {"source": "j"}}


def test_of_several_files_the_last_is_the_nearest_and_this_one_nearer() -> None:
    path = written(
        deep__a="seed: 1\ndevice: cpu\nworkers: 1\n",
        deep__b="extends: a.yaml\nseed: 2\nworkers: 2\n",
        c="workers: 3\nbatch_size: 3\n",
        robustness="extends: [deep/b.yaml, c.yaml]\nbatch_size: 4\n",
    )
    assert plain(extended(path)) == {"seed": 2, "device": "cpu", "workers": 3, "batch_size": 4}


def test_every_value_knows_the_file_that_it_is_from() -> None:
    root = extended(written(base=BASE, robustness="extends: base.yaml\ngates: {fgsm: {at_least: 1}}\n"))
    fgsm = root.mapping("")["gates"].value.mapping("")["fgsm"]
    assert fgsm.key.where == "robustness.yaml:2"
    assert {name: own.value.where for name, own in fgsm.value.mapping("").items()} == {
        "assert": "base.yaml:5",
        "stress": "base.yaml:5",
        "at_least": "robustness.yaml:2",
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"robustness": "extends: base.yaml\n", "base": "extends: other.yaml\n", "other": "extends: base.yaml\n"},
            "other.yaml:1: extends: expected files that don't extend each other, got base.yaml -> other.yaml -> base.yaml",
        ),
        (
            {"robustness": "extends: robustness.yaml\n"},
            "robustness.yaml:1: extends: expected files that don't extend each other, got robustness.yaml -> robustness.yaml",
        ),
        (
            {"robustness": "seed: 1\nextends: [missing.yaml]\n"},
            "robustness.yaml:2: extends: expected a file, found none at missing.yaml; paths are relative to this file",
        ),
        ({"robustness": "extends: 3\n"}, "robustness.yaml:1: extends: expected a path or a list of paths, got 3"),
        (
            {"robustness": "extends: {a: b}\n"},
            "robustness.yaml:1: extends: expected a path or a list of paths, got a mapping",
        ),
        (
            {"robustness": "extends: [a.yaml, 1]\n", "a": "seed: 1\n"},
            "robustness.yaml:1: extends: expected a path or a list of paths, got 1",
        ),
        ({"robustness": "- gates\n"}, "robustness.yaml:1: expected a mapping with gates, got a list"),
        ({"robustness": ""}, "robustness.yaml:1: expected a mapping with gates, got nothing"),
        (
            {"robustness": "extends: base.yaml\n", "base": "gates\n"},
            "base.yaml:1: expected a mapping with gates, got 'gates'",
        ),
    ],
)
def test_files_that_can_t_be_joined_are_refused(files: dict[str, str], message: str) -> None:
    with pytest.raises(Refused) as refused:
        extended(written(**files))
    assert str(refused.value) == message

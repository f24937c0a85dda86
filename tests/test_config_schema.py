"""The JSON Schema of files of gates: published as it is, accepting what is read and refusing what is not."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.config.gates import COMMON, kinds
from pytest_robustness.config.options import run_options
from pytest_robustness.config.reading import Node, Refused, read_yaml
from pytest_robustness.config.registry import constructors
from pytest_robustness.config.schema import config_schema, config_schema_text
from tests.test_config_collecting import EVERY_KIND, FILE
from tests.test_config_extending import BASE

PUBLISHED = Path(__file__).parents[1] / "docs" / "robustness.schema.json"
VALIDATOR = jsonschema.Draft7Validator(config_schema())


def plain(node: Node) -> Any:
    if isinstance(node.value, tuple):
        return [plain(own) for own in node.value]
    if isinstance(node.value, dict):
        return {name: plain(entry.value) for name, entry in node.value.items()}
    return node.value


def accepts(text: str, tmp_path: Path) -> bool:
    (tmp_path / "robustness.yaml").write_text(text, encoding="utf-8")
    return bool(VALIDATOR.is_valid(plain(read_yaml(tmp_path / "robustness.yaml"))))


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(config_schema())


def test_the_published_schema_is_that_of_this_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Written by `python -m pytest_robustness schema --config > docs/robustness.schema.json`."""
    assert main(["schema", "--config"]) == 0
    assert capsys.readouterr().out == config_schema_text()
    assert PUBLISHED.read_text(encoding="utf-8") == config_schema_text()


@pytest.mark.parametrize("text", [FILE, EVERY_KIND, BASE])
def test_files_that_run_are_accepted(text: str, tmp_path: Path) -> None:
    assert accepts(text, tmp_path)


def test_a_file_that_adds_to_another_may_have_parts_of_gates(tmp_path: Path) -> None:
    part = "gates:\n  fgsm: {at_least: 0.5}\n  clean: null\nseed: null\nmodel: null\n"
    assert accepts("extends: base.yaml\n" + part, tmp_path)
    assert not accepts(part, tmp_path)
    assert accepts("extends: [a.yaml, b.yaml]\n", tmp_path)


GATE = "{assert: accuracy, stress: FGSM, strength: 1/255, at_least: 1}"


def given(old: str = "", new: str = "", *, top: str = "") -> str:
    return f"{top}gates:\n  it: {GATE.replace(old, new)}\n"


@pytest.mark.parametrize(
    "text",
    [
        given("FGSM", "{PGD: {steps: 3}}"),
        given("FGSM", "{PGD: [3, 1/10]}"),
        given("FGSM", "{Corruption: fog}"),
        given("FGSM", "mine:STRONG"),
        given("FGSM", "null"),
        given("FGSM", "{WorstCase: [APGD, {Square: {queries: 3}}]}"),
        given("FGSM", "{Oblivious: {PGD: {steps: 3}}}"),
        given("FGSM", "{then: [{fixed: [GaussianBlur, 1.5]}, JPEG]}"),
        given("1}", "25 %, behind: SmoothingVote, markers: [slow, {xfail: {reason: why}}], waive: {gradients: why}}"),
        given(top="seed: 3\nfast: true\nmin_gates: 1\nmodel: a:b\nimages: {source: i, resize: 256}\n"),
    ],
)
def test_what_is_read_is_accepted(text: str, tmp_path: Path) -> None:
    assert accepts(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "gates: {}\n",
        "seed: 3\n",
        given(top="sed: 3\n"),
        given(top="fast: 1\n"),
        given(top="shard: 1/2\n"),
        given(top="model: {state: x}\n"),
        given(top="images: {source: i, clases: [a]}\n"),
        given("accuracy", "acuracy"),
        given("assert", "asert"),
        given("at_least", "at_last"),
        given("FGSM", "FGMS"),
        given("FGSM", "{PGD: {step: 3}}"),
        given("FGSM", "{PGD: {norm: l3}}"),
        given("FGSM", "{PGD: {}, FGSM: {}}"),
        given("FGSM", "Blend"),
        given("FGSM", "SmoothingVote"),
        given("1/255", "1/x"),
        given("1}", "1, behind: FGSM}"),
        given("1}", "1, waive: {gradient: why}}"),
        given("1}", "1, shard: images}"),
        "gates: {it: {assert: holds_until, stress: FGSM, strength: 1, shard: pairs}}\n",
        "gates: {it: {assert: modify_rate, attack: FGSM, epsilon: 1, at_most: 0.5, images: a}}\n",
    ],
)
def test_what_is_refused_is_refused_by_the_schema_too(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_robustness.config.documents import read_document

    monkeypatch.chdir(tmp_path)
    assert not accepts(text, tmp_path)
    with pytest.raises(Refused):
        read_document(tmp_path / "robustness.yaml")


def test_an_editor_finds_every_gate_setting_and_option_with_its_meaning() -> None:
    schema = json.loads(config_schema_text())
    assert set(schema["properties"]) == {"extends", "model", "images", "gates", *run_options()}
    assert all(own["description"] for own in schema["properties"].values())
    cases = schema["definitions"]["gate"]["allOf"]
    assert [case["if"]["properties"]["assert"]["const"] for case in cases] == sorted(kinds())
    for case in cases:
        kind = kinds()[case["if"]["properties"]["assert"]["const"]]
        assert case["then"]["description"] == kind.about
        assert set(kind.parameters) <= set(case["then"]["properties"]) <= {*kind.parameters, *COMMON}
    for name, own in constructors().items():
        assert schema["definitions"][name]["description"] == own.about
        assert set(schema["definitions"][name]["anyOf"][0]["properties"]) == set(own.parameters)

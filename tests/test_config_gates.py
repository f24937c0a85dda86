"""Gates of a file: every assertion is one, with its arguments, and what a gate that is wrong is told."""

import inspect
from pathlib import Path

import pytest

from pytest_robustness import FGSM, PGD, Robustness, SmoothingVote
from pytest_robustness.config.gates import COMMON, Gate, clean_name, gate_of, kinds
from pytest_robustness.config.reading import Refused, gathered, read_yaml
from pytest_robustness.config.registry import KINDS, kinds_of, writable
from pytest_robustness.doubts import CHECKS

ASSERTIONS = sorted(name.removeprefix("assert_") for name in dir(Robustness) if name.startswith("assert_"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def gates(text: str) -> list[Gate]:
    Path("robustness.yaml").write_text(text, encoding="utf-8")
    entries = read_yaml(Path("robustness.yaml")).mapping("gates")
    return gathered(lambda item=item: gate_of(*item) for item in entries.items())  # type: ignore[misc]


def gate(text: str) -> Gate:
    return gates(f"it: {text}\n")[0]


def refused(text: str) -> str:
    with pytest.raises(Refused) as refusal:
        gate(text)
    return str(refusal.value)


def test_every_assertion_is_a_kind_of_gate() -> None:
    assert sorted(kinds()) == ASSERTIONS


@pytest.mark.parametrize("name", ASSERTIONS)
def test_every_argument_of_an_assertion_can_be_written(name: str) -> None:
    kind = kinds()[name]
    assert kind.about.endswith((".", ":"))
    signature = set(inspect.signature(getattr(Robustness, f"assert_{name}")).parameters)
    assert set(kind.parameters) == signature - {"self", "image", "images"}
    assert kind.per_image == ("image" in signature)
    assert kind.chooses == bool(signature & {"image", "images"})
    # What every gate may say is no argument of one.
    assert not set(kind.parameters) & set(COMMON)
    for parameter in kind.parameters.values():
        assert writable(parameter.hint), parameter.name


def test_every_kind_of_object_is_an_argument_of_something() -> None:
    hints = [parameter.hint for kind in kinds().values() for parameter in kind.parameters.values()]
    asked = frozenset().union(*(kinds_of(hint) for hint in hints))
    assert set(KINDS) - asked == {"part", "segmenter"}


def test_a_gate_has_its_arguments_its_images_and_its_line() -> None:
    text = """
# what it has to bear
fgsm accuracy:
  assert: accuracy
  stress: {PGD: {steps: 5}}
  strength: 2/255
  at_least: 40 %
  images: [dark/*, bright/*]
  behind: SmoothingVote
  markers: [slow, {xfail: {reason: why}}, {timeout: 60}, {own: [1, {a: [b]}]}]
  waive: {gradients: rounded on purpose}
each: {assert: holds_until, stress: FGSM, strength: 0.1, images: dark/*}
"""
    whole, each = gates(text)
    assert (whole.name, whole.kind.name, whole.node.where) == ("fgsm-accuracy", "accuracy", "robustness.yaml:3")
    assert whole.arguments == {"stress": PGD(steps=5), "strength": 2 / 255, "at_least": 0.4}
    assert whole.behind == SmoothingVote()
    assert whole.images == ("dark/*", "bright/*")
    assert whole.said == {"waive": {"gradients": "rounded on purpose"}}
    assert [(m.name, m.arguments, m.settings) for m in whole.markers] == [
        ("slow", (), {}),
        ("xfail", (), {"reason": "why"}),
        ("timeout", (60,), {}),
        ("own", (1, {"a": ["b"]}), {}),
    ]
    assert each.images is None
    assert each.said == {"images": ["dark/*"]}
    assert each.arguments == {"stress": FGSM(), "strength": 0.1}


def test_pairs_are_sharded_where_a_gate_says_so() -> None:
    sharded = gate("{assert: modify_rate, attack: FGSM, epsilon: 1/255, at_most: 0.5, shard: pairs, targets: 3}")
    assert sharded.said == {"shard": "pairs"}


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("fgsm accuracy", "fgsm-accuracy"),
        ("a::b[c]", "a-b-c"),
        ("Gaußsches Rauschen", "Gaußsches-Rauschen"),
        ("a.b_c-1", "a.b_c-1"),
    ],
)
def test_names_are_made_parts_of_ids(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    "name", ["setup_module", "setUpModule", "teardown_function", "pytestmark", "__init__", "'::'", "_x"]
)
def test_names_that_pytest_has_a_use_for_are_refused(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        gates(f"{name}: {{assert: accuracy, at_least: 1}}\n")
    said = name.strip("'")
    assert str(refusal.value) == (
        f"robustness.yaml:1: expected the name of a gate, got {said!r}, which means something else; call it otherwise"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "FGSM",
            "robustness.yaml:1: expected a gate, such as {assert: accuracy, stress: FGSM, strength: 2/255, at_least: 0.4}, got 'FGSM'",
        ),
        ("{assert: acuracy}", "robustness.yaml:1: no assertion is called 'acuracy'; did you mean 'accuracy'?"),
        (
            "{assert: zebra}",
            f"robustness.yaml:1: no assertion is called 'zebra'; known are {', '.join(ASSERTIONS)}",
        ),
        (
            "{assert: assert_accuracy}",
            "robustness.yaml:1: assert: expected accuracy, got 'assert_accuracy'; leave out the prefix",
        ),
        (
            "{assert: 3}",
            f"robustness.yaml:1: assert: expected {', '.join(ASSERTIONS[:-1])} or {ASSERTIONS[-1]}, got 3",
        ),
        ("{asert: accuracy, at_least: 1}", "robustness.yaml:1: a gate has no key 'asert'; did you mean 'assert'?"),
        (
            "{stress: FGSM}",
            f"robustness.yaml:1: it: expected assert, which is {', '.join(ASSERTIONS[:-1])} or {ASSERTIONS[-1]}, got none",
        ),
        ("{assert: accuracy}", "robustness.yaml:1: accuracy needs at_least"),
        ("{assert: holds_until}", "robustness.yaml:1: holds_until needs stress, strength"),
        (
            "{assert: accuracy, at_last: 1}",
            "robustness.yaml:1: accuracy has no argument 'at_last'; did you mean 'at_least'?",
        ),
        (
            "{assert: accuracy, at_least: 1, image: a}",
            "robustness.yaml:1: accuracy has no argument 'image'; did you mean 'images'?",
        ),
        (
            "{assert: accuracy, at_least: 1, marker: a}",
            "robustness.yaml:1: accuracy has no argument 'marker'; did you mean 'markers'?",
        ),
        (
            "{assert: modify_rate, attack: FGSM, epsilon: 0.1, at_most: 0.5, images: dark/*}",
            "robustness.yaml:1: modify_rate is about all images, got images; leave it out",
        ),
        (
            "{assert: accuracy, at_least: 1, images: 3}",
            "robustness.yaml:1: images: expected a text, in quotes where it looks like a number, a list or null, got 3",
        ),
        (
            "{assert: accuracy, at_least: 1, behind: FGSM}",
            "robustness.yaml:1: behind: expected a smoothing such as {RandomizedSmoothing: 0.25} or a defense such as SmoothingVote, "
            "got FGSM, which is an attack",
        ),
        (
            "{assert: holds_until, stress: FGSM, strength: 1, shard: pairs}",
            "robustness.yaml:1: holds_until runs on the shard of its image, got shard; leave it out",
        ),
        (
            "{assert: holds_until, stress: GaussianBlur, strength: -1}",
            "robustness.yaml:1: strength: GaussianBlur(): expected sigma >= 0, got -1",
        ),
        (
            "{assert: mimic_rate, attack: FGSM, epsilon: 2, at_most: 0.5}",
            "robustness.yaml:1: epsilon: FGSM(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got 2; did you mean 2/255?",
        ),
        (
            "{assert: accuracy, strength: 1/255, at_least: 1}",
            "robustness.yaml:1: strength: expected a stress for strength 0.00392157, got None; name one, as in FGSM()",
        ),
        ("{assert: accuracy, at_least: 1, shard: images}", "robustness.yaml:1: shard: expected pairs, got 'images'"),
        (
            "{assert: accuracy, at_least: 1, waive: {gradient: why}}",
            f"robustness.yaml:1: expected waive to name checks out of {', '.join(CHECKS)}, got 'gradient'; did you mean 'gradients'?",
        ),
        (
            "{assert: accuracy, at_least: 1, waive: gradients}",
            "robustness.yaml:1: waive: expected a mapping, got 'gradients'",
        ),
        (
            "{assert: accuracy, at_least: 1, markers: [3]}",
            "robustness.yaml:1: markers: expected the name of a marker, or {name: arguments}, got 3",
        ),
        (
            "{assert: accuracy, at_least: 1, markers: 'not slow'}",
            "robustness.yaml:1: markers: expected the name of a marker, or {name: arguments}, got 'not slow'",
        ),
        (
            "{assert: accuracy, at_least: 1, markers: {parametrize: [a, [1, 2]]}}",
            "robustness.yaml:1: markers: expected a marker that leaves the images alone, got 'parametrize'; leave it out",
        ),
    ],
)
def test_a_gate_that_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    assert refused(text) == message


def test_all_that_is_wrong_with_gates_is_told_at_once() -> None:
    with pytest.raises(Refused) as refusal:
        gates("a:\n  assert: accuracy\n  at_lest: 1\n  shard: x\nb: {assert: acuracy}\nc:\n  assert: accuracy\n")
    assert refusal.value.lines == (
        "robustness.yaml:3: accuracy has no argument 'at_lest'; did you mean 'at_least'?",
        "robustness.yaml:4: shard: expected pairs, got 'x'",
        "robustness.yaml:5: no assertion is called 'acuracy'; did you mean 'accuracy'?",
        "robustness.yaml:6: accuracy needs at_least",
    )

"""Values as arguments: numbers and fractions, paths, lists, objects with their settings, and what is told where they are wrong."""

import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_robustness import (
    APGD,
    FGSM,
    JPEG,
    PGD,
    BeforeResize,
    Blend,
    Corruption,
    GaussianBlur,
    GaussianNoise,
    Grid,
    Lime,
    Oblivious,
    RandomizedSmoothing,
    SmoothingVote,
    Square,
    Vote,
    WorstCase,
    autoattack_like,
    fixed,
    then,
)
from pytest_robustness.config.reading import Node, Refused, read_yaml
from pytest_robustness.config.registry import constructors
from pytest_robustness.config.values import arguments_of, number_of, value_of
from pytest_robustness.explanations import Explainer, Segmenter
from pytest_robustness.pairs import Targets
from pytest_robustness.types import Attack, Defense, Perturbation

from .conftest import draw_grey

Stress = Attack | Perturbation


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def node(text: str) -> Node:
    Path("robustness.yaml").write_text(text, encoding="utf-8")
    return read_yaml(Path("robustness.yaml"))


def value(text: str, hint: Any) -> Any:
    return value_of(node(text), hint, "it")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.25", 0.25),
        ("3", 3),
        ("-1e-3", -0.001),
        ("2/255", 2 / 255),
        ("1 / 255", 1 / 255),
        ("0.5/255", 0.5 / 255),
        ("-8/255", -8 / 255),
        ("25 %", 0.25),
        ("12.5%", 0.125),
        ("'1/2'", 0.5),
    ],
)
def test_a_number_may_be_a_fraction_or_a_share(text: str, number: float) -> None:
    assert number_of(node(text)) == number
    assert value(text, float) == number
    assert value(text, float | None) == number


@pytest.mark.parametrize("text", ["true", "x", "1/0", "1/2/3", "/255", "[1]", ".inf", ".nan", "1e999", "'% 5'", "null"])
def test_anything_else_is_no_number(text: str) -> None:
    assert number_of(node(text)) is None


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("7", int, 7),
        ("null", float | None, None),
        ("true", bool, True),
        ("l2", Literal["linf", "l2"], "l2"),
        ("7", Literal["auto"] | int, 7),
        ("auto", Literal["auto"] | int, "auto"),
        ("no", str, "no"),
        ("{1/255: 0.5, 0.1: 30 %}", Mapping[float, float], {1 / 255: 0.5, 0.1: 0.3}),
        ("[dark, bright]", Sequence[str] | str | None, ("dark", "bright")),
        ("dark", Sequence[str] | str | None, "dark"),
        ("{a.png: [1, 2, 3, 4]}", Mapping[str, tuple[int, int, int, int] | str | Path], {"a.png": (1, 2, 3, 4)}),
        ("3", Targets, 3),
        ("[zebra]", Targets, ("zebra",)),
        ("[[a.png, zebra]]", Targets, (("a.png", "zebra"),)),
    ],
)
def test_values_are_read_as_the_types_of_arguments(text: str, hint: Any, expected: Any) -> None:
    assert value(text, hint) == expected


def test_a_path_is_relative_to_the_file_that_it_is_written_in(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text("pictures", encoding="utf-8")
    assert value_of(read_yaml(tmp_path / "deep" / "a.yaml"), str | Path, "it") == tmp_path / "deep" / "pictures"


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("PGD", Stress, PGD()),
        ("{PGD: }", Stress, PGD()),
        ("{PGD: {steps: 5, norm: l2, step_size: 1/10}}", Stress, PGD(steps=5, norm="l2", step_size=0.1)),
        ("{PGD: 5}", Stress, PGD(steps=5)),
        ("{PGD: [5, 25 %]}", Stress, PGD(5, 0.25)),
        ("{Corruption: fog}", Stress, Corruption("fog")),
        ("{Corruption: {name: fog, table: cifar-c}}", Stress, Corruption("fog", "cifar-c")),
        ("{Oblivious: FGSM}", Stress, Oblivious(FGSM())),
        ("{Oblivious: {PGD: {steps: 3}}}", Stress, Oblivious(PGD(steps=3))),
        ("{Oblivious: {attack: FGSM}}", Stress, Oblivious(FGSM())),
        ("{BeforeResize: {GaussianBlur: {border: replicate}}}", Stress, BeforeResize(GaussianBlur("replicate"))),
        ("{WorstCase: [APGD, {Square: {queries: 9}}]}", Attack, WorstCase(APGD(), Square(9))),
        ("{WorstCase: {attacks: [APGD, Square]}}", Attack, WorstCase(APGD(), Square())),
        ("{autoattack_like: {norm: l2, queries: 7}}", Attack, autoattack_like("l2", queries=7)),
        ("{then: [{fixed: [GaussianBlur, 1.5]}, JPEG]}", Perturbation, then(fixed(GaussianBlur(), 1.5), JPEG())),
        (
            "{then: [{fixed: [GaussianBlur, 1.5]}, {fixed: {perturbation: JPEG, strength: 9}}, GaussianNoise]}",
            Perturbation,
            then(fixed(GaussianBlur(), 1.5), fixed(JPEG(), 9), GaussianNoise()),
        ),
        ("{Vote: [null, {fixed: [JPEG, 40]}, null]}", Defense, Vote((None, fixed(JPEG(), 40), None))),
        ("{Vote: {filters: [null, {fixed: [JPEG, 40]}, null]}}", Defense, Vote((None, fixed(JPEG(), 40), None))),
        ("SmoothingVote", Defense, SmoothingVote()),
        ("{RandomizedSmoothing: 1/4}", Defense, RandomizedSmoothing(0.25)),
        ("{RandomizedSmoothing: {sigma: 1/4, n: 50}}", RandomizedSmoothing, RandomizedSmoothing(0.25, n=50)),
        ("{Lime: {segments: {Grid: [2, 3]}, fill: 0.5}}", Explainer | None, Lime(segments=Grid(2, 3), fill=0.5)),
        ("{Lime: {fill: grey}}", Explainer, Lime(fill="grey")),
    ],
)
def test_objects_are_named_with_their_settings_or_without(text: str, hint: Any, expected: Any) -> None:
    assert value(text, hint) == expected


def test_every_object_that_can_be_named_is_one_of_a_kind_that_something_takes() -> None:
    """And none of those that need an object of Python's, but every other one that is public."""
    kinds: dict[str, set[str]] = {}
    for name, own in constructors().items():
        kinds.setdefault(own.kind, set()).add(name)
    assert kinds["attack"] == {
        *("APGD", "BIM", "FGSM", "FMN", "MIFGSM", "Oblivious", "PGD", "Square", "WorstCase", "autoattack_like")
    }
    assert kinds["defense"] == {"SmoothingVote", "Vote"}
    assert kinds["smoothing"] == {"RandomizedSmoothing"}
    assert kinds["explainer"] == {"Anchors", "AttentionRollout", "GradCAM", "Lime", "published_lime"}
    assert kinds["segmenter"] == {"Grid", "Quickshift", "Slic"}
    assert kinds["part"] == {"fixed"}
    assert len(kinds["perturbation"]) == 24
    assert {"Blend", "Corruption", "then", "BeforeResize"} < kinds["perturbation"]
    assert not {"foreign", "wrapped", "Backgrounds"} & set(constructors())


def test_every_object_that_needs_no_setting_is_made_by_its_name() -> None:
    for name, own in constructors().items():
        if not any(parameter.required for parameter in own.parameters.values()) and name != "WorstCase":
            made = value(name, Attack | Perturbation | Defense | Explainer | Segmenter)
            assert repr(made) == repr(own.call())


def test_an_overlay_lies_beside_the_file(tmp_path: Path) -> None:
    draw_grey(tmp_path / "zebra.png", 255)
    assert repr(value("{Blend: {overlay: zebra.png, fit: tile}}", Stress)) == "Blend('zebra.png', fit='tile')"
    assert value("{Blend: zebra.png}", Stress) == Blend("zebra.png")


MINE = """
from pytest_robustness import FGSM, GaussianNoise
STRONG = FGSM(norm="l2")
HAZE = GaussianNoise()
Weak = FGSM
def denoised(images): return images
"""


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mine")
    exec(MINE, vars(module))
    monkeypatch.setitem(sys.modules, "mine", module)


@pytest.mark.usefixtures("mine")
def test_an_object_of_the_users_own_is_named_by_its_module() -> None:
    assert value("mine:STRONG", Attack) == FGSM(norm="l2")
    vote = value("{Vote: [null, mine:denoised]}", Defense)
    assert vote.filters[1].__name__ == "denoised"


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("text", "hint", "message"),
    [
        (
            "mine:STRNG",
            Attack,
            "robustness.yaml:1: it: mine:STRNG: mine has no 'STRNG'; did you mean 'STRONG'?",
        ),
        (
            "mine:HAZE",
            Attack,
            "robustness.yaml:1: it: expected mine:HAZE to be an attack such as FGSM, got GaussianNoise(); name an object, made "
            "with its settings",
        ),
        (
            "mine:Weak",
            Attack,
            "robustness.yaml:1: it: expected mine:Weak to be an attack such as FGSM, got the class FGSM; name an object, made with "
            "its settings",
        ),
        (
            "not_there_at_all:x",
            Attack,
            "robustness.yaml:1: it: not_there_at_all:x: expected a module that can be imported, got No module named 'not_there_at_all'",
        ),
        (
            "{mine:STRONG: {steps: 1}}",
            Attack,
            "robustness.yaml:1: it: expected an attack such as FGSM, got 'mine:STRONG'; known are APGD, BIM, FGSM, FMN, MIFGSM, "
            "Oblivious, PGD, Square, WorstCase, autoattack_like",
        ),
        ("x", float, "robustness.yaml:1: it: expected a number such as 0.25, 2/255 or 25 %, got 'x'"),
        (
            "\n\nx",
            float | None,
            "robustness.yaml:3: it: expected a number such as 0.25, 2/255 or 25 % or null, got 'x'",
        ),
        ("2.5", int, "robustness.yaml:1: it: expected a whole number, got 2.5"),
        ("true", int, "robustness.yaml:1: it: expected a whole number, got true"),
        ("yes", bool, "robustness.yaml:1: it: expected true or false, got 'yes'"),
        ("7", str, "robustness.yaml:1: it: expected a text, in quotes where it looks like a number, got 7"),
        ("l3", Literal["linf", "l2"], "robustness.yaml:1: it: expected linf or l2, got 'l3'"),
        ("{}", str | Path, "robustness.yaml:1: it: expected a path, got an empty mapping"),
        ("[1, 2]", tuple[int, int, int, int], "robustness.yaml:1: it: expected a list of 4, got one of 2"),
        (
            "[a, 1]",
            Sequence[str],
            "robustness.yaml:1: it: expected a text, in quotes where it looks like a number, got 1",
        ),
        ("3", Mapping[float, float], "robustness.yaml:1: it: expected a mapping, got 3"),
        (
            "{x: 0.5}",
            Mapping[float, float],
            "robustness.yaml:1: it: expected a number such as 0.25, 2/255 or 25 %, got 'x'",
        ),
        ("{PGD: {step: 5}}", Attack, "robustness.yaml:1: PGD has no setting 'step'; did you mean 'steps'?"),
        (
            "{FGSM: {zebra: 5}}",
            Attack,
            "robustness.yaml:1: FGSM has no setting 'zebra'; known are expectation, loss, norm",
        ),
        ("{JPEG: 5}", Perturbation, "robustness.yaml:1: JPEG has no settings, got 5; leave them out"),
        ("Blend", Perturbation, "robustness.yaml:1: Blend needs overlay"),
        (
            "{fixed: [JPEG]}",
            Vote | Perturbation,
            "robustness.yaml:1: it: expected a perturbation such as GaussianNoise, got fixed, which is a part of a chain",
        ),
        ("{then: [{fixed: [JPEG]}, JPEG]}", Perturbation, "robustness.yaml:1: fixed needs strength"),
        ("{then: [JPEG]}", Perturbation, "robustness.yaml:1: then needs second"),
        (
            "{PGD: {steps: 0}}",
            Attack,
            "robustness.yaml:1: PGD(steps=0): expected steps to be a whole number >= 1, got 0",
        ),
        (
            "{Grid: [1, 2, 3]}",
            Explainer,
            "robustness.yaml:1: it: expected an explainer such as GradCAM, got Grid, which is superpixels",
        ),
        (
            "{Lime: {segments: {Grid: [1, 2, 3]}}}",
            Explainer,
            "robustness.yaml:1: Grid: expected at most 2 settings (rows, columns), got 3",
        ),
        (
            "GaussianNoise",
            Attack,
            "robustness.yaml:1: it: expected an attack such as FGSM, got GaussianNoise, which is a perturbation",
        ),
        ("pgd", Attack, "robustness.yaml:1: it: expected an attack such as FGSM, got 'pgd'; did you mean 'PGD'?"),
        (
            "{PGD: {steps: 1}, FGSM: {}}",
            Attack | None,
            "robustness.yaml:1: it: expected an attack such as FGSM or null, got a mapping",
        ),
        (
            "{WorstCase: [APGD, GaussianNoise]}",
            Attack,
            "robustness.yaml:1: attacks: expected an attack such as FGSM, got GaussianNoise, which is a perturbation",
        ),
        (
            "[]",
            RandomizedSmoothing,
            "robustness.yaml:1: it: expected a smoothing such as {RandomizedSmoothing: 0.25}, got an empty list",
        ),
    ],
)
def test_what_means_nothing_is_told_with_its_line(text: str, hint: Any, message: str) -> None:
    with pytest.raises(Refused) as refused:
        value(text, hint)
    assert str(refused.value) == message


def test_all_that_is_wrong_with_an_object_is_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        value("PGD:\n  stps: 5\n  norm: l3\n  restarts: x", Attack)
    assert refused.value.lines == (
        "robustness.yaml:2: PGD has no setting 'stps'; did you mean 'steps'?",
        "robustness.yaml:3: norm: expected linf or l2, got 'l3'",
        "robustness.yaml:4: restarts: expected a whole number, got 'x'",
    )


def test_an_argument_that_was_misspelt_is_not_missed_as_well() -> None:
    given = node("overly: zebra.png")
    with pytest.raises(Refused) as refused:
        arguments_of(given.mapping(""), constructors()["Blend"].parameters, "Blend", given, word="setting")
    assert str(refused.value) == "robustness.yaml:1: Blend has no setting 'overly'; did you mean 'overlay'?"

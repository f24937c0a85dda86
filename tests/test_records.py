"""Records say what they hold in words, and come back from JSON as they were."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.records import (
    Case,
    Evaluation,
    Ladder,
    Matrix,
    Outcome,
    Pair,
    Picture,
    Provenance,
    Verdict,
    from_builtin,
    path_text,
    strength_text,
    to_builtin,
)
from pytest_robustness.results import SCHEMA, Results

RIGHT = Outcome("zebra/1.png", ("zebra", "okapi"), "zebra", True, 0.61, 0.7, (("zebra", 0.61), ("tiger", 0.3)))
WRONG = Outcome("zebra/1.png", ("zebra", "okapi"), "tiger", False, 0.9, 0.1, (("tiger", 0.9), ("zebra", 0.1)))
ABSTAINED = Outcome(
    "zebra/2.png", ("zebra",), None, False, 0.0, 0.333333, (("zebra", 1 / 3),), ("zebra", "tiger", "okapi")
)

PROVENANCE = Provenance(
    model="ResNet",
    model_digest="a" * 64,
    images="tests/images",
    images_digest="b" * 64,
    n=2,
    classes=("okapi", "tiger", "zebra"),
    device="cpu",
    seed=7,
    precision="float32",
    execution="as given",
    versions=(("pytest-robustness", "0.1.0"), ("python", "3.11.0")),
)

RESULTS = Results(
    verdicts=(
        Verdict("accuracy", "accuracy under clean images >= 1", "pass", "2 of 2", 1.0, 1.0, 0.0, 2, (0.158, 1.0)),
        Verdict(
            gate="holds_until",
            claim="zebra/1.png holds under FGSM() until epsilon 2/255",
            status="fail",
            reason="caf\u00e9 at epsilon 1/255: tiger 0.90",
            measured=1 / 255,
            required=2 / 255,
            margin=-1 / 255,
            n=1,
            evaluations=(Evaluation(Case("GaussianNoise()", "sigma", 0.25, "SmoothingVote()"), (RIGHT, ABSTAINED)),),
            ladders=(Ladder("zebra/1.png", "FGSM()", "epsilon", (1 / 255, 2 / 255), ((0.0, RIGHT), (1 / 255, WRONG))),),
            matrices=(
                Matrix(
                    case=Case("FGSM()", "epsilon", 2 / 255),
                    classes=("okapi", "tiger", "zebra"),
                    cells=("- 1/2 0/2", "-*3", "0/1 1/1 -"),
                    groups=(("striped", ("okapi", "zebra")), ("cats", ("tiger",))),
                    excluded=(("zebra", 1),),
                    planned=8,
                    queries=30,
                    gradients=12,
                    examples=(Pair("zebra/1.png", "zebra", "tiger", WRONG),),
                ),
            ),
            pictures=(Picture("zebra/1.png", "clean", "data:image/png;base64,AA==", (("zebra", 0.61),)),),
            test="test_release.py::test_holds[zebra/1.png]",
            run=PROVENANCE.key,
            expected=True,
        ),
        Verdict("accuracy", "accuracy under FGSM()", "error", "the model raised RuntimeError"),
    ),
    runs=(PROVENANCE, dataclasses.replace(PROVENANCE, seed=8)),
    complete=False,
)


def test_an_answer_is_the_class_with_its_confidence_or_of_a_vote_no_majority_or_else_none() -> None:
    assert RIGHT.answer == "zebra 0.61"
    assert ABSTAINED.answer == "no majority"
    assert dataclasses.replace(ABSTAINED, votes=()).answer == "no answer"


@pytest.mark.parametrize(
    ("unit", "strength", "text"),
    [
        ("epsilon", 8 / 255, "8/255"),
        ("epsilon", 1 / 255, "1/255"),
        ("epsilon", 0.5 / 255, "0.5/255"),
        ("epsilon", 0.25 / 255, "0.25/255"),
        ("epsilon", round(3 / 255, 10), "3/255"),
        ("epsilon", 0.1 / 255, "0.0003922"),
        ("epsilon", 0.03, "0.03"),
        ("epsilon", 0.0, "0"),
        ("epsilon", 1.0, "1"),
        ("epsilon", 3.0, "3"),
        ("epsilon", 0.5, "0.5"),
        ("epsilon", 1e-10, "1e-10"),
        ("epsilon", 3.14159, "3.142"),
        ("alpha", 0.25, "0.25"),
        ("alpha", 8 / 255, "0.03137"),
        ("sigma", 1.0, "1"),
        ("sigma", 1 / 3, "0.3333"),
        ("", 0.0, "0"),
    ],
)
def test_a_strength_is_written_as_people_write_it(unit: str, strength: float, text: str) -> None:
    assert strength_text(unit, strength) == text


@pytest.mark.parametrize(
    ("case", "at", "title"),
    [
        (Case("FGSM()", "epsilon", 2 / 255), "epsilon 2/255", "FGSM() at epsilon 2/255"),
        (Case("Blend('z.png')", "alpha", 0.25), "alpha 0.25", "Blend('z.png') at alpha 0.25"),
        (
            Case("GaussianNoise()", "sigma", 0.25, "SmoothingVote()"),
            "sigma 0.25",
            "GaussianNoise() at sigma 0.25 behind SmoothingVote()",
        ),
        (Case("", "", 0.0), " 0", "clean images"),
        (Case("", "", 0.0, "SmoothingVote()"), " 0", "clean images behind SmoothingVote()"),
    ],
)
def test_a_case_is_titled_by_stress_strength_and_defense(case: Case, at: str, title: str) -> None:
    assert case.at == at
    assert case.title == title


def test_an_evaluation_counts_its_correct_outcomes() -> None:
    assert Evaluation(Case("", "", 0.0), (RIGHT, WRONG, RIGHT, ABSTAINED)).correct == 2
    assert Evaluation(Case("", "", 0.0), ()).correct == 0


@pytest.mark.parametrize(
    ("rungs", "held", "broke"),
    [
        (((0.0, WRONG),), None, 0.0),
        (((0.0, RIGHT), (0.1, WRONG)), 0.0, 0.1),
        (((0.0, RIGHT), (0.1, RIGHT), (0.2, WRONG)), 0.1, 0.2),
        (((0.0, RIGHT), (0.1, RIGHT), (0.2, RIGHT)), 0.2, None),
    ],
    ids=["wrong when clean", "breaks at the first level", "breaks at the last", "never breaks"],
)
def test_a_ladder_tells_what_it_held_and_where_it_broke(
    rungs: tuple[tuple[float, Outcome], ...], held: float | None, broke: float | None
) -> None:
    ladder = Ladder("zebra/1.png", "GaussianNoise()", "sigma", (0.1, 0.2), rungs)
    assert (ladder.held, ladder.broke) == (held, broke)


def test_only_verdicts_that_are_not_green_and_that_no_test_expected_have_failed() -> None:
    verdicts = [
        Verdict("accuracy", "claim", status, "reason", expected=expected)
        for status in ("pass", "fail", "undecided", "untrusted", "error")
        for expected in (False, True)
    ]
    failed = Results(tuple(verdicts)).failed
    assert [(verdict.status, verdict.expected) for verdict in failed] == [
        ("fail", False),
        ("undecided", False),
        ("untrusted", False),
        ("error", False),
    ]


def test_a_path_below_the_working_directory_is_written_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_text(tmp_path / "a" / "b.png") == "a/b.png"
    assert path_text(tmp_path) == "."
    assert path_text(Path("a") / "b.png") == "a/b.png"
    assert path_text(tmp_path.parent / "b.png") == (tmp_path.parent / "b.png").as_posix()


def test_results_come_back_from_json_as_they_were() -> None:
    assert Results.from_json(RESULTS.to_json()) == RESULTS
    assert Results.from_json(Results().to_json()) == Results()


def test_the_same_results_are_the_same_bytes() -> None:
    text = RESULTS.to_json()
    assert RESULTS.to_json() == text
    assert Results.from_json(text).to_json() == text
    assert "caf\u00e9" in text


def test_records_become_exact_builtins_and_come_back_with_the_types_they_had() -> None:
    (_, verdict, _) = RESULTS.verdicts
    builtin = to_builtin(verdict)

    def kinds(value: object) -> set[type]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return {type(value)}.union(*(kinds(item) for item in inner))

    assert kinds(builtin) == {dict, list, str, float, int, bool, type(None)}
    assert from_builtin(Verdict, builtin) == verdict
    assert type(from_builtin(Verdict, {**builtin, "measured": 1}).measured) is float


def test_a_record_with_an_unknown_field_is_a_type_error() -> None:
    message = "Picture.__init__() got an unexpected keyword argument 'jpeg'"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        from_builtin(Picture, {"image": "a.png", "caption": "clean", "png": "", "top": [], "jpeg": ""})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_has_no_word_for_is_refused(value: float) -> None:
    results = Results((Verdict("accuracy", "claim", "pass", "reason", measured=value),))
    message = f"Out of range float values are not JSON compliant: {value}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        results.to_json()


@pytest.mark.parametrize("text", ["", "not JSON", '{"schema": '])
def test_a_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as raw:
        json.loads(text)
    with pytest.raises(InputError) as error:
        Results.from_json(text)
    assert str(error.value) == f"expected a results document as JSON, got something else ({raw.value})"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"schema": "pytest-robustness/0"}', "'pytest-robustness/0'"),
        ('{"schema": 1}', "1"),
        ("{}", "None"),
        ("[]", "None"),
        ("3", "None"),
    ],
)
def test_a_document_of_another_schema_is_refused(text: str, found: str) -> None:
    with pytest.raises(InputError) as error:
        Results.from_json(text)
    assert str(error.value) == (
        f"expected results of schema 'pytest-robustness/2', got {found}; write them anew with this version"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verdicts": None}, "'NoneType' object is not iterable"),
        (
            {"verdicts": [{"gate": "accuracy", "claim": "claim", "status": "pass"}]},
            "Verdict.__init__() missing 1 required positional argument: 'reason'",
        ),
        (
            {"verdicts": [{"gate": "a", "claim": "b", "status": "pass", "reason": "c", "colour": "green"}]},
            "Verdict.__init__() got an unexpected keyword argument 'colour'",
        ),
        ({"runs": []}, "'list' object has no attribute 'values'"),
        (
            {"verdicts": [{"gate": "a", "claim": "b", "status": "pass", "reason": "c", "interval": [0.5]}]},
            "zip() argument 2 is shorter than argument 1",
        ),
    ],
    ids=["no verdicts", "half a verdict", "an unknown field", "a list of runs", "half an interval"],
)
def test_a_document_of_this_schema_that_holds_something_else_is_refused(change: dict[str, object], reason: str) -> None:
    document = {"schema": SCHEMA, "complete": True, "runs": {}, "verdicts": []} | change
    with pytest.raises(InputError) as error:
        Results.from_json(json.dumps(document))
    assert str(error.value) == f"expected results as this version writes them, got others ({reason}); write them anew"


@pytest.mark.parametrize("key", ["verdicts", "runs", "complete"])
def test_a_document_of_this_schema_that_lacks_a_part_is_refused(key: str) -> None:
    document = {"schema": SCHEMA, "complete": True, "runs": {}, "verdicts": []}
    del document[key]
    with pytest.raises(InputError) as error:
        Results.from_json(json.dumps(document))
    assert str(error.value) == f"expected results as this version writes them, got others ({key!r}); write them anew"


@pytest.mark.parametrize(
    "change",
    [
        {"model": "VGG"},
        {"model_digest": "c" * 64},
        {"images": "other"},
        {"images_digest": "c" * 64},
        {"n": 3},
        {"classes": ("okapi", "zebra", "tiger")},
        {"device": "cuda:0 (H200)"},
        {"seed": 8},
        {"precision": "bfloat16"},
        {"execution": "channels_last"},
        {"versions": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_of_a_provenance_changes_with_each_of_its_fields(change: dict[str, object]) -> None:
    other = dataclasses.replace(PROVENANCE, **change)  # type: ignore[arg-type]
    assert other.key != PROVENANCE.key


def test_the_key_of_a_provenance_is_twelve_hex_digits_that_stay() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", PROVENANCE.key)
    assert from_builtin(Provenance, to_builtin(PROVENANCE)).key == PROVENANCE.key


def test_the_document_is_written_as_it_always_was() -> None:
    assert Results((Verdict("accuracy", "claim", "pass", "reason", 1.0, interval=(0.5, 1.0)),)).to_json() == (
        '{\n "schema": "pytest-robustness/2",\n "complete": true,\n "profile": "",\n "runs": {},\n "verdicts": [\n  {\n'
        '   "gate": "accuracy",\n   "claim": "claim",\n   "status": "pass",\n   "reason": "reason",\n'
        '   "measured": 1.0,\n   "required": null,\n   "margin": null,\n   "n": 0,\n   "interval": [\n    0.5,\n    1.0\n'
        '   ],\n   "evaluations": [],\n   "ladders": [],\n   "matrices": [],\n   "of": "",\n   "pictures": [],\n   "checks": [],\n   "doubts": [],\n   "traces": [],\n   "explained": [],\n   "charts": [],\n   "test": "",\n   "run": "",\n'
        '   "expected": false,\n   "reproduce": "",\n   "confidence": null,\n   "fallen": []\n  }\n ]\n}\n'
    )

"""Two releases compared: numbers by hand, and what can't be compared refused by name."""

import dataclasses

import pytest

from pytest_robustness.comparing import alike, compared, of_model
from pytest_robustness.comparisons import Allowed, Change, Comparison
from pytest_robustness.errors import InputError
from pytest_robustness.records import Case
from pytest_robustness.results import Results
from pytest_robustness.shards import Shard
from tests.releases import CASE, CLEAN, RUN, asked, ladder, other, outcome, results, verdict

BEFORE = results(verdict("t.py::test_fgsm", asked("a b c d e f")))


def refusal(before: Results, after: Results) -> str:
    with pytest.raises(InputError) as error:
        compared(before, after, against="before.json")
    return str(error.value)


def changes(before: Results, after: Results, allowed: Allowed | None = None) -> tuple[Change, ...]:
    return compared(before, after, allowed, against="before.json").changes


def test_images_are_compared_one_by_one_and_p_is_that_of_the_exact_test() -> None:
    """Of five images that differ all are lost: 2 / 2**5. Of four one is gained: 2 * (1 + 4) / 2**4."""
    (change,) = changes(BEFORE, results(verdict("t.py::test_fgsm", asked("-a -b c -d -e -f"))))
    assert change == Change(
        test="t.py::test_fgsm",
        kind="accuracy",
        case="FGSM() at epsilon 2/255",
        unit="",
        before=1.0,
        after=1 / 6,
        lost=("a.png", "b.png", "d.png", "e.png", "f.png"),
        gained=(),
        n=6,
        p=0.0625,
    )
    before = results(verdict("t.py::test_fgsm", asked("a b c -d -e f")))
    (change,) = changes(before, results(verdict("t.py::test_fgsm", asked("-a -b -c d -e f"))))
    assert (change.lost, change.gained, change.p) == (("a.png", "b.png", "c.png"), ("d.png",), 0.625)
    assert (change.before, change.after) == (4 / 6, 2 / 6)


def test_the_same_results_have_changed_in_nothing() -> None:
    (change,) = changes(BEFORE, BEFORE)
    assert (change.drop, change.lost, change.gained, change.p) == (0.0, (), (), 1.0)


def test_a_drop_is_worse_where_it_is_more_than_allowed_and_rounding_is_none() -> None:
    after = results(verdict("t.py::test_fgsm", asked("-a b c d e f")))
    for allowed, worse in ((0.0, True), (0.16, True), (1 / 6, False), (0.2, False), (None, False)):
        (change,) = changes(BEFORE, after, Allowed(allowed, 0.0))
        assert (change.allowed, change.worse) == (allowed, worse)


def test_the_items_of_a_test_are_put_together_and_its_other_parameters_kept_apart() -> None:
    before = [verdict(f"t.py::test[{p}-{i}]", asked(f"{i}")) for p in ("one", "two") for i in "ab"]
    after = [
        verdict(f"t.py::test[{p}-{i}]", asked("-a" if p + i == "twoa" else i)) for p in ("one", "two") for i in "ab"
    ]
    found = changes(results(*before), results(*after))
    assert [(own.test, own.n, own.lost) for own in found] == [
        ("t.py::test[one]", 2, ()),
        ("t.py::test[two]", 2, ("a.png",)),
    ]


def test_breaking_points_are_compared_by_the_strength_until_which_an_image_holds() -> None:
    before = [
        verdict(f"t.py::test[{i}]", ladders=(ladder(f"{i}.png", held),))
        for i, held in zip("abc", (0.3, 0.2, None), strict=True)
    ]
    after = [
        verdict(f"t.py::test[{i}]", ladders=(ladder(f"{i}.png", held),))
        for i, held in zip("abc", (0.1, 0.2, 0.1), strict=True)
    ]
    (change,) = changes(results(*before), results(*after), Allowed(breaking_point=0.03))
    assert (change.test, change.kind, change.unit) == ("t.py::test", "breaking_point", "alpha")
    assert change.case == "Blend('white.png') at 3 levels up to alpha 0.3"
    assert (change.lost, change.gained) == (("a.png",), ("c.png",))
    assert (round(change.before, 9), round(change.after, 9)) == (round(0.5 / 3, 9), round(0.4 / 3, 9))
    # From 0.1667 to 0.1333.
    assert change.worse
    assert not changes(results(*before), results(*after), Allowed(breaking_point=0.04))[0].worse


def test_smallest_epsilons_are_compared_by_the_length_of_the_change_and_certificates_by_their_radius() -> None:
    top = Case("FMN()", "epsilon", 8 / 255)

    def measured(*distances: float | None) -> Results:
        found = [outcome(f"{n}.png", own is None, distance=own) for n, own in enumerate(distances)]
        evaluation = dataclasses.replace(asked("a", top), outcomes=tuple(found))
        return results(verdict("t.py::test", evaluation, gate="smallest-epsilon"))

    (change,) = changes(measured(None, 2 / 255, 4 / 255), measured(None, 1 / 255, 4 / 255))
    assert (change.kind, change.case) == ("breaking_point", "FMN() up to epsilon 8/255")
    assert (round(change.before * 255, 9), round(change.after * 255, 9)) == (round(14 / 3, 9), round(13 / 3, 9))
    assert change.lost == ("1.png",)

    def certified(*radii: float | None) -> Results:
        found = [outcome(f"{n}.png", own is not None, radius=own) for n, own in enumerate(radii)]
        evaluation = dataclasses.replace(asked("a", CLEAN), outcomes=tuple(found))
        return results(verdict("t.py::test", evaluation, gate="certified-accuracy"))

    (change,) = changes(certified(0.5, 0.25, None), certified(0.25, 0.5, None))
    assert (change.case, change.before, change.after) == ("clean images, certified", 0.25, 0.25)
    assert (change.lost, change.gained) == (("0.png",), ("1.png",))


def test_a_selection_is_compared_on_the_images_that_both_have() -> None:
    after = results(verdict("t.py::test_fgsm", asked("b -c g")))
    (change,) = changes(BEFORE, after)
    assert (change.n, change.before, change.after, change.lost) == (2, 1.0, 0.5, ("c.png",))


def test_what_one_side_has_alone_is_named() -> None:
    before = results(verdict("t.py::gone", asked("a")), *BEFORE.verdicts)
    after = results(verdict("t.py::new", asked("a", CLEAN)), verdict("t.py::test_fgsm", asked("a"), asked("a", CLEAN)))
    found = compared(before, after, against="before.json")
    assert found.only_before == ("t.py::gone: FGSM() at epsilon 2/255",)
    assert found.only_after == ("t.py::new: clean images", "t.py::test_fgsm: clean images")
    assert (found.against, found.model, len(found.changes)) == ("before.json", "Net abababab", 1)


def test_items_of_other_images_have_nothing_in_common() -> None:
    before, after = (results(verdict(f"t.py::test[{i}]", asked(i))) for i in "ab")
    assert compared(before, after, against="b") == Comparison(
        "b", "Net abababab", (), ("t.py::test: FGSM() at epsilon 2/255",), ("t.py::test: FGSM() at epsilon 2/255",)
    )


def test_a_comparison_is_in_the_results_and_comes_back() -> None:
    after = results(verdict("t.py::test_fgsm", asked("-a b c d e f")))
    found = dataclasses.replace(after, comparison=compared(BEFORE, after, Allowed(0.1), against="b"))
    assert Results.from_json(found.to_json()) == found


def test_results_on_other_data_are_refused_with_all_that_differs() -> None:
    run = other(images_digest="ef" * 32, n=7, classes=("cat", "dog", "owl"), seed=3)
    after = results(verdict("t.py::test_fgsm", asked("a"), run=run), runs=(run,))
    assert refusal(BEFORE, after) == (
        "t.py::test_fgsm: expected results on the same data, got other images (6 of images, cdcdcdcd before; 7 of images, efefefef "
        "now) and other classes (number 2 is none before, owl now) and another seed (0 before, 3 now); compare runs on the same "
        "images with the same seed, or write the baseline anew"
    )


@pytest.mark.parametrize("field", [{"seed": 1}, {"images_digest": "f"}, {"classes": ("dog", "cat")}])
def test_data_are_alike_in_images_classes_and_seed(field: dict[str, object]) -> None:
    assert not alike(RUN, other(**field))
    assert alike(RUN, other(model="Other", model_digest="", device="cuda:0", machine="another"))


def test_a_test_that_was_asked_other_questions_is_refused_with_both() -> None:
    after = results(verdict("t.py::test_fgsm", asked("a", dataclasses.replace(CASE, strength=4 / 255))))
    assert refusal(BEFORE, after) == (
        "t.py::test_fgsm: expected to be asked what it was before, FGSM() at epsilon 2/255, got FGSM() at epsilon 4/255; compare "
        "runs of the same tests, or update the baseline of this one"
    )
    many = [asked("a", dataclasses.replace(CASE, strength=n / 255)) for n in (1, 3, 4, 5, 6)]
    assert "got FGSM() at epsilon 1/255, FGSM() at epsilon 3/255, FGSM() at epsilon 4/255 and 2 more;" in refusal(
        BEFORE, results(verdict("t.py::test_fgsm", *many))
    )
    assert "Blend('white.png') at 1 level up to alpha 0.3" in refusal(
        results(verdict("t.py::test", ladders=(ladder("a.png", 0.1),))),
        results(verdict("t.py::test", ladders=(ladder("a.png", 0.3, (0.3,)),))),
    )


def test_shards_and_runs_that_stopped_are_no_releases() -> None:
    shard = dataclasses.replace(BEFORE, shard=Shard(2, 8))
    assert refusal(BEFORE, shard) == (
        "expected the results of whole runs, got those of shard 2 of 8 now; join the shards by `python -m pytest_robustness merge`"
    )
    assert refusal(shard, BEFORE).startswith("expected the results of whole runs, got those of shard 2 of 8 before;")
    assert refusal(dataclasses.replace(BEFORE, complete=False), BEFORE) == (
        "before.json: expected the results of a run that finished, got one that stopped early"
    )
    # This one is compared as far as it came.
    assert len(changes(BEFORE, dataclasses.replace(BEFORE, complete=False))) == 1


def test_what_else_differs_is_told_once_and_does_not_matter() -> None:
    run = other(device="cuda:0", precision="bfloat16", versions=(("torch", "2.6.0"), ("scipy", "1.14.0")))
    case = dataclasses.replace(CASE, library="foolbox 3.3.4")
    before = results(verdict("t.py::a", asked("a", case)), verdict("t.py::b", asked("a")))
    after = results(
        verdict("t.py::a", asked("a", dataclasses.replace(case, library="foolbox 3.4.0")), run=run),
        verdict("t.py::b", asked("a"), run=run),
        runs=(run,),
    )
    assert compared(before, after, against="b").notes == (
        "both have the same weights: Net abababab",
        "device cpu before, cuda:0 now",
        "precision float32 before, bfloat16 now",
        "pytest-robustness 0.1.0 before, none now",
        "torch 2.5.0 before, 2.6.0 now",
        "scipy none before, 1.14.0 now",
        "stresses of foolbox 3.3.4 before, of foolbox 3.4.0 now",
    )


def test_a_model_without_a_digest_goes_by_its_name() -> None:
    assert of_model(other(model_digest="")) == "Net"


def test_a_verdict_without_a_run_measured_nothing() -> None:
    error = verdict("t.py::broken", status="error", gate="error")
    broken = results(*BEFORE.verdicts, dataclasses.replace(error, run=""))
    assert compared(broken, broken, against="b").only_before == ()

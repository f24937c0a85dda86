"""Known failures as records: what becomes one, what is dropped, and how one is found again."""

import dataclasses

import pytest

from pytest_robustness.corpus import Failure, failures_of, from_text, named, to_text, updated
from pytest_robustness.errors import InputError
from pytest_robustness.records import Case, Verdict
from pytest_robustness.results import Results
from tests.releases import CASE, CLEAN, RUN, asked, ladder, other, results, verdict

AT = 2 / 255


def failed(test: str, names: str, *fallen: str, case: Case = CASE, **fields: object) -> Verdict:
    own = tuple((f"{name}.png", case.strength) for name in fallen)
    return verdict(test, asked(names, case), status="fail", fallen=own, **fields)


def failure(image: str = "a.png", test: str = "t.py::test", **fields: object) -> Failure:
    given = {"gate": "accuracy", "stress": "FGSM()", "unit": "epsilon", "strength": AT, "seed": 0}
    return Failure(test=test, image=image, **{**given, "answer": "dog 0.75", "accepted": ("cat",), **fields})


A, B = failure("a.png"), failure("b.png")


def test_the_images_that_a_gate_fell_by_are_failures_the_worst_first() -> None:
    found = list(failures_of(failed("t.py::test", "-a -b c", "b", "a"), 0))
    assert found == [B, A]
    assert list(failures_of(verdict("t.py::test", asked("-a b")), 0)) == []


def test_of_a_ladder_it_is_where_the_image_broke() -> None:
    own = verdict(
        "t.py::test[a]", ladders=(ladder("a.png", 0.1),), status="fail", fallen=(("a.png", 0.2),), gate="holds-until"
    )
    (found,) = failures_of(own, 7)
    assert found.title == "a.png under Blend('white.png') at alpha 0.2"
    assert (found.strength, found.seed, found.answer, found.accepted) == (0.2, 7, "dog 0.75", ("cat",))


def test_of_several_evaluations_the_first_is_what_the_gate_is_about() -> None:
    """A vote's beside that of the model alone, at one strength."""
    voted, alone = asked("-a", dataclasses.replace(CASE, defense="Vote()")), asked("-a")
    (found,) = failures_of(verdict("t.py::test", voted, alone, status="fail", fallen=(("a.png", AT),)), 0)
    assert found.stress == "FGSM() behind Vote()"


def test_clean_images_and_those_behind_a_defense_have_titles() -> None:
    (found,) = failures_of(failed("t.py::test", "-a", "a", case=CLEAN), 0)
    assert (found.stress, found.title) == ("", "a.png clean")
    (found,) = failures_of(failed("t.py::test", "-a", "a", case=Case("", "", 0.0, "Vote()")), 0)
    assert found.stress == "behind Vote()"


def test_a_key_is_that_of_the_test_the_image_and_what_it_was_put_to() -> None:
    """Recorded: a command that was printed has to work on another day."""
    assert A.key == "d7353f14"
    assert failure(test="t.py::test[a]").key == A.key
    assert failure(answer="owl 0.9", accepted=("owl",), gate="no-worse", fell=False).key == A.key
    others = [B, failure(test="t.py::other"), failure(stress="PGD()"), failure(strength=0.1), failure(seed=1)]
    assert len({A.key, *(own.key for own in others)}) == 6


def test_what_fell_is_added_and_what_holds_again_is_dropped() -> None:
    assert updated((), results(failed("t.py::test", "-a -b c", "a", "b")), grows=False) == (A, B)
    assert updated((A, B), results(failed("t.py::test", "a -b c", "b")), grows=False) == (B,)


def test_a_corpus_that_grows_keeps_what_holds_again_and_marks_it() -> None:
    held = dataclasses.replace(A, fell=False)
    assert updated((A, B), results(failed("t.py::test", "a -b c", "b")), grows=True) == (held, B)
    assert updated((held, B), results(failed("t.py::test", "-a b c", "a")), grows=True) == (
        A,
        dataclasses.replace(B, fell=False),
    )


def test_what_was_not_asked_stays() -> None:
    known = (A, B)
    for now in (
        Results(),
        results(failed("t.py::other", "a b")),
        results(verdict("t.py::test", asked("c"))),
        # Still wrong, although the gate passes.
        results(verdict("t.py::test", asked("-a -b"))),
        results(verdict("t.py::test", asked("a b", dataclasses.replace(CASE, strength=0.1)))),
        results(verdict("t.py::test", asked("a b"), run=other(seed=1)), runs=(other(seed=1),)),
        results(verdict("t.py::test", status="error", gate="error")),
    ):
        assert updated(known, now, grows=False) == known


def test_an_image_that_breaks_at_another_strength_takes_the_place_of_its_own() -> None:
    def broke(held: float) -> Results:
        at = round(held + 0.1, 9)
        return results(
            verdict("t.py::test[a]", ladders=(ladder("a.png", held),), status="fail", fallen=(("a.png", at),))
        )

    (first,) = updated((), broke(0.1), grows=False)
    (second,) = updated((first,), broke(0.0), grows=False)
    assert (first.strength, second.strength) == (0.2, 0.1)
    assert updated((first,), broke(0.0), grows=True) == (second, first)
    holds = results(verdict("t.py::test[a]", ladders=(ladder("a.png", 0.3),)))
    assert updated((second, first), holds, grows=False) == ()


def test_a_failure_that_a_test_expects_is_none() -> None:
    assert updated((), results(failed("t.py::test", "-a", "a", expected=True)), grows=False) == ()


def test_failures_come_back_from_their_text() -> None:
    text = to_text((A, dataclasses.replace(B, fell=False)))
    assert from_text(text) == (A, dataclasses.replace(B, fell=False))
    assert f'"key": "{A.key}"' in text


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "other"}', '{"schema": "pytest-robustness-corpus/1", "failures": [{}]}']
)
def test_what_are_no_failures_is_refused(text: str) -> None:
    with pytest.raises(
        InputError,
        match=r"^expected known failures as 'pytest-robustness-corpus/1', got something else \(.*\); delete the file$",
    ):
        from_text(text)


def test_the_beginning_of_a_key_is_enough() -> None:
    assert named((A, B), A.key[:4]) == A
    assert named((A, B), B.key) == B


def refusal(known: tuple[Failure, ...], key: str) -> str:
    with pytest.raises(InputError) as error:
        named(known, key)
    return str(error.value)


def test_a_key_that_is_none_is_refused_with_the_nearest() -> None:
    many = tuple(failure(f"{n}.png") for n in range(7))
    wanted = many[3].key[:5] + "xyz"
    told = refusal(many, wanted).splitlines()
    assert told[0] == f"expected the key of a known failure, got '{wanted}'; known are:"
    assert told[1] == f"  {many[3].key}  3.png under FGSM() at epsilon 2/255, t.py::test"
    assert len(told) == 7
    assert told[6] == "  and 2 more"
    assert (
        refusal((), "abc") == "expected the key of a known failure, got 'abc', and none is known; run the tests first"
    )


def test_the_beginning_of_several_keys_is_refused_with_them() -> None:
    many = tuple(failure(f"{n}.png") for n in range(40))
    (first, *more) = (own for own in many if own.key[0] == many[0].key[0])
    told = refusal(many, many[0].key[0]).splitlines()
    assert told[0] == (
        f"expected the key of one known failure, got '{many[0].key[0]}', with which {1 + len(more)} begin; write more of it:"
    )
    assert told[1].startswith(f"  {first.key}  0.png")


def test_a_run_that_is_not_known_is_nothing() -> None:
    assert updated((A,), dataclasses.replace(results(verdict("t.py::test", asked("a"))), runs=()), grows=False) == (A,)
    assert RUN.seed == A.seed

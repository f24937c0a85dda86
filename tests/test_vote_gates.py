"""Gates over votes: which pass, and every sentence that their verdicts can say."""

import math
from collections import Counter

import pytest

from pytest_robustness.errors import InputError
from pytest_robustness.gates import AccuracyAtLeast
from pytest_robustness.records import Case, Evaluation, Outcome, Verdict
from pytest_robustness.stats import lower_bound
from pytest_robustness.vote_gates import AcceptedAccuracyAtLeast, VoteGains, VoteRecovers, beside

VOTED = Case("GaussianNoise()", "sigma", 0.25, "SmoothingVote()")
ALONE = Case("GaussianNoise()", "sigma", 0.25)
VOTERS = ("none", "single", "double")

# What the three voters say of an image of a cat.
RIGHT = ("cat", "cat", "cat")
WRONG = ("dog", "dog", "dog")
SPLIT = ("cat", "dog", "cow")
WON = ("dog", "cat", "cat")
LOST = ("cat", "dog", "dog")


def voted(image: str, *votes: str) -> Outcome:
    """What a vote makes of an image of a cat: more than half decide."""
    shares = [(name, count / len(votes)) for name, count in Counter(votes).most_common()]
    winner, share = shares[0]
    predicted = winner if share > 0.5 else None
    confidence = share if predicted else 0.0
    cats = votes.count("cat") / len(votes)
    return Outcome(image, ("cat",), predicted, predicted == "cat", confidence, cats, tuple(shares), votes)


def single(image: str, says: str | None, share: float = 0.75) -> Outcome:
    """What a model, or a defense without named votes, makes of it; None abstains."""
    cats = share if says == "cat" else 1 - share
    return Outcome(image, ("cat",), says, says == "cat", share if says else 0.0, cats, (("cat", cats),))


def votes(*each: tuple[tuple[str, ...], int], case: Case = VOTED) -> Evaluation:
    """So many images with each of these votes, numbered."""
    said = [own for own, count in each for _ in range(count)]
    return Evaluation(case, tuple(voted(f"{place}.png", *own) for place, own in enumerate(said)))


def alone(*says: str) -> Evaluation:
    return Evaluation(ALONE, tuple(single(f"{place}.png", own) for place, own in enumerate(says)))


def test_a_vote_that_recovers_the_class_passes() -> None:
    recovered, model = votes((WON, 1)), alone("dog")
    assert VoteRecovers().judge(recovered, model) == Verdict(
        gate="vote-recovers",
        claim="SmoothingVote() recovers the class under GaussianNoise() at sigma 0.25",
        status="pass",
        reason="0.png: the voters say dog, cat, cat; without the vote the model says dog 0.75; accepted: cat",
        measured=1.0,
        required=1.0,
        margin=0.0,
        n=1,
        interval=(pytest.approx(0.025), 1.0),
        evaluations=(recovered, model),
    )


def test_a_vote_that_abstains_does_not_recover_the_class() -> None:
    verdict = VoteRecovers().judge(votes((SPLIT, 1)), alone("cat"))
    assert (verdict.status, verdict.measured, verdict.margin) == ("fail", 0.0, -1.0)
    assert verdict.reason == (
        "0.png: the voters say cat, dog, cow (no majority); without the vote the model says cat 0.75; accepted: cat"
    )


def test_of_several_images_the_vote_has_to_recover_each() -> None:
    verdict = VoteRecovers().judge(votes((WRONG, 1), (RIGHT, 3)), alone("cat", "dog", "dog", "dog"))
    assert (verdict.status, verdict.measured, verdict.reason) == (
        "fail",
        0.75,
        "3 of 4 images are recovered; right without the vote: 1\n"
        "0.png: the voters say dog, dog, dog; without the vote the model says cat 0.75; accepted: cat",
    )
    passed = VoteRecovers().judge(votes((RIGHT, 3)), alone("cat", "dog", "dog"))
    assert (passed.status, passed.reason) == ("pass", "3 of 3 images are recovered; right without the vote: 1")


def test_of_many_images_that_are_not_recovered_five_are_named() -> None:
    lines = VoteRecovers().judge(votes((RIGHT, 1), (WRONG, 7)), alone(*["dog"] * 8)).reason.splitlines()
    assert lines[0] == "1 of 8 images are recovered; right without the vote: 0"
    assert [line.partition(":")[0] for line in lines[1:6]] == ["1.png", "2.png", "3.png", "4.png", "5.png"]
    assert lines[6:] == ["... and 2 more"]


@pytest.mark.parametrize(("says", "told"), [("dog", "says dog 0.75"), (None, "has no answer")])
def test_a_defense_whose_views_have_no_names_is_told_by_its_answer(says: str | None, told: str) -> None:
    smoothed = Case("GaussianNoise()", "sigma", 0.25, "RandomizedSmoothing(sigma=0.25)")
    answer = Evaluation(smoothed, (single("0.png", says),))
    assert VoteRecovers().judge(answer, alone("dog")).reason == (
        f"0.png: the defense {told}; without the vote the model says dog 0.75; accepted: cat"
    )
    judged = AcceptedAccuracyAtLeast(0.5, 0.5).judge(answer)
    named = [line for line in judged.reason.splitlines() if line.startswith("0.png")]
    assert named == [f"0.png: the defense {told}; accepted: cat"]


def test_every_accepted_class_is_named() -> None:
    other = Outcome("a.png", ("cat", "lynx"), "dog", False, 1.0, 0.0, (("dog", 1.0),), WRONG)
    assert VoteRecovers().judge(Evaluation(VOTED, (other,)), alone("dog")).reason.endswith("accepted: cat or lynx")
    assert (
        AcceptedAccuracyAtLeast(0.5, 0.5)
        .judge(Evaluation(VOTED, (other,)))
        .reason.endswith("\na.png: the voters say dog, dog, dog; accepted: cat or lynx")
    )


# Of ten images eight are accepted, six of them rightly.
TEN = votes((RIGHT, 4), (WON, 2), (WRONG, 2), (SPLIT, 2))


def test_an_accuracy_over_the_accepted_images_that_clears_both_bars_passes() -> None:
    assert AcceptedAccuracyAtLeast(0.7, 0.5).judge(TEN) == Verdict(
        gate="vote-accuracy",
        claim=(
            "accuracy over accepted images under GaussianNoise() at sigma 0.25 behind SmoothingVote() >= 0.7 "
            "with coverage >= 0.5"
        ),
        status="pass",
        reason=(
            "accuracy over the accepted images 0.75 (6 of 8), required >= 0.7\n"
            "coverage 0.8 (8 of 10), required >= 0.5\n"
            "over all images, a reject being wrong: 0.6 (6 of 10, 95 % interval 0.262 to 0.878)"
        ),
        measured=0.75,
        required=0.7,
        margin=pytest.approx(0.05),
        n=10,
        interval=(pytest.approx(0.349144, abs=1e-6), pytest.approx(0.968146, abs=1e-6)),
        evaluations=(TEN,),
    )


def test_an_accuracy_below_the_bar_names_the_accepted_images_that_are_wrong() -> None:
    verdict = AcceptedAccuracyAtLeast(0.9, 0.8).judge(TEN)
    assert (verdict.status, verdict.reason) == (
        "fail",
        "accuracy over the accepted images 0.75 (6 of 8), required >= 0.9, short by 0.15\n"
        "coverage 0.8 (8 of 10), required >= 0.8\n"
        "over all images, a reject being wrong: 0.6 (6 of 10, 95 % interval 0.262 to 0.878)\n"
        "6.png: the voters say dog, dog, dog; accepted: cat\n"
        "7.png: the voters say dog, dog, dog; accepted: cat",
    )
    assert (verdict.measured, verdict.required, verdict.margin) == (0.75, 0.9, pytest.approx(-0.15))


def test_a_coverage_below_the_bar_fails_and_names_the_images_that_are_rejected() -> None:
    verdict = AcceptedAccuracyAtLeast(0.9, 0.5).judge(votes((RIGHT, 1), (SPLIT, 3)))
    assert (verdict.status, verdict.reason) == (
        "fail",
        "accuracy over the accepted images 1 (1 of 1), required >= 0.9\n"
        "coverage 0.25 (1 of 4), required >= 0.5, short by 0.25\n"
        "over all images, a reject being wrong: 0.25 (1 of 4, 95 % interval 0.006 to 0.806)\n"
        "1.png: the voters say cat, dog, cow (no majority); accepted: cat\n"
        "2.png: the voters say cat, dog, cow (no majority); accepted: cat\n"
        "3.png: the voters say cat, dog, cow (no majority); accepted: cat",
    )
    assert (verdict.measured, verdict.required, verdict.margin, verdict.n) == (0.25, 0.5, -0.25, 4)
    assert verdict.interval == (pytest.approx(0.006309, abs=1e-6), pytest.approx(0.805880, abs=1e-6))


@pytest.mark.parametrize(
    ("at_least", "coverage", "named"),
    [
        # Accuracy over the accepted images 3/5, coverage 5/7.
        (0.6, 5 / 7, []),
        (0.9, 0.5, ["1.png", "4.png"]),
        (0.5, 0.9, ["0.png", "3.png"]),
        (0.9, 0.9, ["0.png", "1.png", "3.png", "4.png"]),
    ],
    ids=["neither", "accuracy", "coverage", "both"],
)
def test_the_images_are_named_that_keep_either_bar_from_being_cleared(
    at_least: float, coverage: float, named: list[str]
) -> None:
    evaluation = votes((SPLIT, 1), (WRONG, 1), (RIGHT, 1), (SPLIT, 1), (LOST, 1), (WON, 2))
    lines = AcceptedAccuracyAtLeast(at_least, coverage).judge(evaluation).reason.splitlines()
    assert [line.partition(":")[0] for line in lines[3:]] == named


def test_of_many_rejected_images_five_are_named_and_wrong_ones_are_not() -> None:
    verdict = AcceptedAccuracyAtLeast(0.5, 0.9).judge(votes((WRONG, 1), (SPLIT, 7), (RIGHT, 2)))
    assert verdict.reason.splitlines()[3:] == [
        *(f"{place}.png: the voters say cat, dog, cow (no majority); accepted: cat" for place in range(1, 6)),
        "... and 2 more",
    ]


def test_what_is_measured_is_nearer_to_its_bound_or_further_below() -> None:
    # Accuracy 0.75, coverage 0.8.
    for at_least, coverage, measured in [
        (0.7, 0.5, 0.75),
        (0.5, 0.7, 0.8),
        (0.9, 0.85, 0.75),
        (0.8, 1.0, 0.8),
        (0.9, 0.1, 0.75),
        (0.1, 0.9, 0.8),
    ]:
        verdict = AcceptedAccuracyAtLeast(at_least, coverage).judge(TEN)
        required = at_least if measured == 0.75 else coverage
        assert (verdict.measured, verdict.required) == (measured, required)
        assert verdict.margin == pytest.approx(measured - required)
        assert verdict.status == ("pass" if at_least <= 0.75 and coverage <= 0.8 else "fail")


@pytest.mark.parametrize(("at_least", "coverage", "measured"), [(0.8, 0.5, 0.8), (0.5, 0.8, 0.5)])
def test_of_a_vote_that_rejects_everything_nothing_is_right(at_least: float, coverage: float, measured: float) -> None:
    verdict = AcceptedAccuracyAtLeast(at_least, coverage).judge(votes((SPLIT, 3)))
    assert verdict.status == "fail"
    accuracy, *others = verdict.reason.splitlines()
    assert accuracy.startswith(
        f"accuracy over the accepted images unknown, as none is accepted, required >= {at_least:g}"
    )
    assert others == [
        f"coverage 0 (0 of 3), required >= {coverage:g}, short by {coverage:g}",
        "over all images, a reject being wrong: 0 (0 of 3, 95 % interval 0.000 to 0.708)",
        *(f"{place}.png: the voters say cat, dog, cow (no majority); accepted: cat" for place in range(3)),
    ]
    assert (verdict.measured, verdict.required, verdict.n) == (0.0, 0.8, 3)
    assert verdict.margin == -0.8
    # Of none there is no interval; coverage has its own.
    assert verdict.interval == (None if at_least > coverage else (0.0, pytest.approx(1 - 0.025 ** (1 / 3))))


def test_of_many_wrong_images_five_are_named_and_rejected_ones_are_not() -> None:
    verdict = AcceptedAccuracyAtLeast(0.9, 0.5).judge(votes((SPLIT, 1), (WRONG, 7), (RIGHT, 2)))
    lines = verdict.reason.splitlines()[3:]
    assert lines == [
        *(f"{place}.png: the voters say dog, dog, dog; accepted: cat" for place in range(1, 6)),
        "... and 2 more",
    ]
    passed = AcceptedAccuracyAtLeast(0.2, 0.9).judge(votes((SPLIT, 1), (WRONG, 7), (RIGHT, 2)))
    assert (passed.status, len(passed.reason.splitlines())) == ("pass", 3)


@pytest.mark.parametrize(
    ("right", "wrong", "rejected", "at_least", "coverage"), [(7, 3, 0, 0.7, 1.0), (1, 2, 7, 1 / 3, 0.3)]
)
def test_both_bars_themselves_pass_and_one_image_less_fails(
    right: int, wrong: int, rejected: int, at_least: float, coverage: float
) -> None:
    gate = AcceptedAccuracyAtLeast(at_least, coverage)
    assert gate.judge(votes((RIGHT, right), (WRONG, wrong), (SPLIT, rejected))).status == "pass"
    assert gate.judge(votes((RIGHT, right - 1), (WRONG, wrong + 1), (SPLIT, rejected))).status == "fail"
    assert gate.judge(votes((RIGHT, right), (WRONG, wrong - 1), (SPLIT, rejected + 1))).status == "fail"


def test_an_accuracy_over_the_accepted_images_is_refused_without_a_coverage() -> None:
    with pytest.raises(InputError) as error:
        AcceptedAccuracyAtLeast(0.9, None)
    assert str(error.value) == (
        "expected coverage_at_least=, the share of the images that the vote has to accept, got none; a vote that rejects all "
        "but the easiest image is always right, so its accuracy means nothing without its coverage"
    )


@pytest.mark.parametrize("share", [0, 1.2, -0.5, float("nan"), "0.5", True])
def test_shares_of_accepted_images_outside_0_to_1_are_refused(share: float) -> None:
    message = "to be a share in (0, 1], got {!r}; a gate at 0 would pass every model"
    with pytest.raises(InputError) as error:
        AcceptedAccuracyAtLeast(share, 0.5)
    assert str(error.value) == f"expected at_least {message.format(share)}"
    with pytest.raises(InputError) as error:
        AcceptedAccuracyAtLeast(0.5, share)
    assert str(error.value) == f"expected coverage_at_least {message.format(share)}"


def test_a_vote_that_is_right_on_more_images_than_its_voter_passes() -> None:
    evaluation = votes((RIGHT, 8), (WON, 8), (LOST, 1), (WRONG, 2), (("dog", "cat", "cow"), 1))
    verdict, lost = VoteGains("none").judge(evaluation, VOTERS)
    assert verdict == Verdict(
        gate="vote-gains",
        claim="SmoothingVote() gains > 0 over 'none' under GaussianNoise() at sigma 0.25",
        status="pass",
        reason=(
            "the vote is right on 0.8 (16 of 20) of all images, 'none' alone on 0.45 (9 of 20)\n"
            "gain +0.35 (won 8, lost 1 images), required > 0; exact McNemar p 0.02, one-sided\n"
            "coverage 0.95 (19 of 20)"
        ),
        measured=0.35,
        required=0.0,
        margin=0.35,
        n=20,
        evaluations=(evaluation,),
    )
    assert lost == ["16.png"]


def test_a_gain_that_may_be_chance_is_undecided() -> None:
    verdict, lost = VoteGains("none").judge(votes((RIGHT, 6), (WON, 4)), VOTERS)
    assert (verdict.status, verdict.measured, verdict.margin, lost) == ("undecided", 0.4, 0.4, [])
    assert verdict.reason == (
        "the vote is right on 1 (10 of 10) of all images, 'none' alone on 0.6 (6 of 10)\n"
        "gain +0.4 (won 4, lost 0 images), required > 0; exact McNemar p 0.062, one-sided\n"
        "coverage 1 (10 of 10)\n"
        "undecided: so much may be chance (p >= 0.05); take more images"
    )


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (3, 3), (2, 7)])
def test_a_vote_that_gains_nothing_fails(won: int, lost: int) -> None:
    verdict, _ = VoteGains("none").judge(votes((WON, won), (LOST, lost), (RIGHT, 10 - won - lost)), VOTERS)
    assert (verdict.status, verdict.measured, verdict.margin) == ("fail", (won - lost) / 10, (won - lost) / 10)
    gain = {0: "+0", -5: "-0.5"}[won - lost]
    assert verdict.reason.splitlines()[1].startswith(
        f"gain {gain} (won {won}, lost {lost} images), required > 0; exact McNemar p "
    )
    assert "undecided" not in verdict.reason


@pytest.mark.parametrize(
    ("won", "lost", "p", "told"),
    [
        (0, 0, 1.0, "1"),
        (0, 1, 1.0, "1"),
        (1, 1, 3 / 4, "0.75"),
        (3, 3, (1 + 6 + 15 + 20) / 2**6, "0.66"),
        (1, 2, (8 - 1) / 2**3, "0.88"),
        (2, 7, 1 - (1 + 9) / 2**9, "0.98"),
    ],
)
def test_of_a_vote_that_loses_the_chance_is_the_exact_one_too(won: int, lost: int, p: float, told: str) -> None:
    verdict, _ = VoteGains("none").judge(votes((WON, won), (LOST, lost), (RIGHT, 20)), VOTERS)
    assert p == math.fsum(math.comb(won + lost, i) for i in range(lost + 1)) / 2 ** (won + lost)
    assert verdict.status == "fail"
    assert f"; exact McNemar p {told}, one-sided\n" in verdict.reason


def test_a_vote_that_loses_names_the_images_and_by_how_much_it_falls_short() -> None:
    verdict, lost = VoteGains("none").judge(votes((RIGHT, 1), (LOST, 2), (WON, 1), (SPLIT, 1)), VOTERS)
    assert verdict.reason == (
        "the vote is right on 0.4 (2 of 5) of all images, 'none' alone on 0.8 (4 of 5)\n"
        "gain -0.4 (won 1, lost 3 images), required > 0; exact McNemar p 0.94, one-sided\n"
        "coverage 0.8 (4 of 5)\n"
        "short by 0.4\n"
        "lost: 1.png, 2.png, 4.png"
    )
    assert lost == ["1.png", "2.png", "4.png"]


def test_of_many_lost_images_five_are_named() -> None:
    for count, more in [(5, []), (7, ["... and 2 more"])]:
        verdict, _ = VoteGains("none").judge(votes((WON, count), (LOST, count)), VOTERS)
        named = ", ".join(f"{count + place}.png" for place in range(5))
        # A gain of 0 is short by nothing of more than 0.
        assert verdict.reason.splitlines()[3:] == [f"lost: {named}", *more]


def test_lost_images_are_told_where_the_vote_fails_and_not_where_it_gains() -> None:
    for won, status in [(8, "pass"), (3, "undecided")]:
        verdict, lost = VoteGains("none").judge(votes((WON, won), (LOST, 1)), VOTERS)
        assert (verdict.status, lost) == (status, [f"{won}.png"])
        assert "\nlost:" not in verdict.reason
        assert "short by" not in verdict.reason


def test_a_gain_below_the_margin_fails_however_sure_it_is() -> None:
    evaluation = votes((RIGHT, 14), (WON, 6))
    verdict, _ = VoteGains("none", 0.35).judge(evaluation, VOTERS)
    assert (verdict.status, verdict.measured, verdict.required) == ("fail", 0.3, 0.35)
    assert verdict.margin == pytest.approx(-0.05)
    assert verdict.claim == "SmoothingVote() gains >= 0.35 over 'none' under GaussianNoise() at sigma 0.25"
    assert verdict.reason == (
        "the vote is right on 1 (20 of 20) of all images, 'none' alone on 0.7 (14 of 20)\n"
        "gain +0.3 (won 6, lost 0 images), required >= 0.35; exact McNemar p 0.016, one-sided\n"
        "coverage 1 (20 of 20)\n"
        "short by 0.05"
    )
    # 0.1 + 0.2 is a little more than 0.3.
    assert VoteGains("none", 0.1 + 0.2).judge(evaluation, VOTERS)[0].status == "pass"


@pytest.mark.parametrize(
    ("won", "lost", "p", "told"),
    [
        (5, 0, 1 / 32, "0.031"),
        (4, 0, 1 / 16, "0.062"),
        (1, 0, 1 / 2, "0.5"),
        (7, 1, (1 + 8) / 2**8, "0.035"),
        (6, 1, (1 + 7) / 2**7, "0.062"),
        (2, 1, (1 + 3) / 2**3, "0.5"),
        (9, 2, (1 + 11 + 55) / 2**11, "0.033"),
        (10, 3, (1 + 13 + 78 + 286) / 2**13, "0.046"),
        (9, 3, (1 + 12 + 66 + 220) / 2**12, "0.073"),
    ],
)
def test_a_gain_is_sure_where_a_fair_coin_seldom_falls_so_far_to_one_side(
    won: int, lost: int, p: float, told: str
) -> None:
    """The chance of at most `lost` tails in won + lost throws, which is one-sided; images that agree say nothing."""
    assert p == math.fsum(math.comb(won + lost, i) for i in range(lost + 1)) / 2 ** (won + lost)
    for agree in (0, 20):
        verdict, named = VoteGains("none").judge(votes((WON, won), (LOST, lost), (RIGHT, agree)), VOTERS)
        assert f"; exact McNemar p {told}, one-sided\n" in verdict.reason
        assert verdict.status == ("pass" if p < 0.05 else "undecided")
        assert len(named) == lost


def test_the_images_that_are_lost_are_those_that_the_voter_has_right_and_the_vote_has_not() -> None:
    evaluation = votes((WON, 1), (LOST, 2), (SPLIT, 1), (("dog", "cat", "cow"), 1), (RIGHT, 1), (WRONG, 1))
    assert VoteGains("none").judge(evaluation, VOTERS)[1] == ["1.png", "2.png", "3.png"]
    assert VoteGains("single").judge(evaluation, VOTERS)[1] == ["4.png"]
    verdict, lost = VoteGains("double").judge(evaluation, VOTERS)
    assert lost == []
    assert verdict.reason.startswith(
        "the vote is right on 0.2857 (2 of 7) of all images, 'double' alone on 0.2857 (2 of 7)\ngain +0 (won 0, lost 0 images)"
    )


def test_a_gain_over_a_voter_that_the_vote_does_not_have_is_refused() -> None:
    VoteGains("double").check(VOTERS, "SmoothingVote()")
    with pytest.raises(InputError) as error:
        VoteGains("triple").check(VOTERS, "SmoothingVote()")
    assert str(error.value) == (
        "SmoothingVote(): expected over= to be one of its voters 'none', 'single', 'double', got 'triple'"
    )


@pytest.mark.parametrize("margin", [1, 1.5, -0.1, float("nan"), "0.1", True, None])
def test_a_margin_that_is_no_share_is_refused(margin: float) -> None:
    with pytest.raises(InputError) as error:
        VoteGains("none", margin)
    assert str(error.value) == f"expected margin to be a share of the images in [0, 1), got {margin!r}"


def test_beside_an_attack_that_knows_of_the_defense_is_told_what_one_leaves_that_does_not() -> None:
    known, unknown = votes((RIGHT, 1), (WRONG, 3)), votes((RIGHT, 3), (WRONG, 1))
    verdict = AccuracyAtLeast(0.2).judge(known)
    both = beside(verdict, unknown)
    assert both.reason == (
        "accuracy 0.25 (1 of 4, 95 % interval 0.006 to 0.806), required >= 0.2\n"
        "an attack that does not know of the defense leaves 0.75 (3 of 4, 95 % interval 0.194 to 0.994)"
    )
    assert both.evaluations == (known, unknown)
    assert (both.status, both.measured, both.margin, both.claim) == (
        verdict.status,
        verdict.measured,
        verdict.margin,
        verdict.claim,
    )


@pytest.mark.parametrize(("at_least", "status"), [(0.8, "pass"), (0.92, "undecided"), (0.96, "fail")])
def test_at_a_confidence_both_shares_are_judged_by_their_bounds(at_least: float, status: str) -> None:
    """90 of 95 accepted images are right, 95 of 100 accepted: the one-sided 95 % bounds are .8925 and .8977."""
    verdict = AcceptedAccuracyAtLeast(at_least, 0.7, 0.95).judge(votes((RIGHT, 90), (WRONG, 5), (SPLIT, 5)))
    assert (verdict.status, verdict.confidence) == (status, 0.95)
    assert verdict.measured == pytest.approx(lower_bound(90, 95, confidence=0.95))
    assert verdict.claim.endswith(f">= {at_least:g} with coverage >= 0.7 at confidence 0.95")
    undecided = (
        "undecided: the estimate clears the bar, its bound does not; 285 images with the same share would decide"
    )
    assert [line for line in verdict.reason.splitlines() if line.startswith(("at confidence", "undecided"))] == [
        "at confidence 0.95, at least 0.8925 of all such images that it accepts",
        *[undecided] * (status == "undecided"),
        "at confidence 0.95, at least 0.8977 of all such images are accepted",
    ]


def test_of_no_accepted_image_there_is_no_bound() -> None:
    verdict = AcceptedAccuracyAtLeast(0.8, 0.7, 0.95).judge(votes((SPLIT, 5)))
    assert (verdict.status, verdict.measured) == ("fail", 0.0)

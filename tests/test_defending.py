"""The model behind a defense: attacks that know of it, every gate over it, and what is measured of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pytest_robustness import (
    APGD,
    BIM,
    FGSM,
    FMN,
    JPEG,
    MIFGSM,
    PGD,
    BeforeResize,
    Engine,
    GateFailed,
    GaussianNoise,
    ImageSet,
    InputError,
    Oblivious,
    RandomizedSmoothing,
    Robustness,
    SmoothingVote,
    Square,
    Vote,
    WorstCase,
    fixed,
    foreign,
    image_folder,
)
from pytest_robustness.attacks import Mimic, Miss
from pytest_robustness.defenses.elections import Elected, Polled
from pytest_robustness.defenses.voting import majority
from pytest_robustness.norms import length
from pytest_robustness.perturbations import gaussian_blur
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Defense
from tests.attack_models import Shown, accepted, convnet, noise_images, streams

VOTE = SmoothingVote(kernel=3)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Sixteen images of noise, each in the folder of the class that the vote gives it."""
    pixels = (noise_images(16) * 255).round().to(torch.uint8)
    votes = VOTE.decide(Shown(convnet()), pixels / 255, streams(16)).answers
    for row, (image, label) in enumerate(zip(pixels, votes.tolist(), strict=True)):
        folder = tmp_path / str(max(0, label))
        folder.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{row:02}.png")
    return image_folder(tmp_path, classes=["0", "1", "2"])


@pytest.fixture
def robustness(images: ImageSet) -> Robustness:
    return Robustness(Engine(convnet(), images, device="cpu"))


def said(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def failed(call: Callable[[], object]) -> GateFailed:
    with pytest.raises(GateFailed) as error:
        call()
    return error.value


def test_an_attacker_sees_the_answers_to_all_views_and_climbs_the_mean_of_their_objectives() -> None:
    model, images, goal = convnet(), noise_images(5), Miss(accepted([0, 1, 2, 0, 1], 3))
    once = gaussian_blur(images, kernel=3)
    twice = gaussian_blur(once, kernel=3)
    polled = Polled(Shown(model), VOTE, streams(5))
    logits = polled(images)
    assert logits.shape == (5, 3, 3)
    expected = [goal.objective(model(shown), "margin") for shown in (images, once, twice)]
    elected = Elected(goal, VOTE)
    assert torch.allclose(elected.objective(logits, "margin"), torch.stack(expected).mean(0), atol=1e-6)
    part = torch.tensor([3, 1])
    assert torch.allclose(polled.select(part)(images[part]), logits[part], atol=1e-6)
    assert torch.allclose(elected.select(part).objective(logits[part]), elected.objective(logits)[part])


def test_the_goal_is_reached_where_the_defense_itself_would_be_wrong() -> None:
    votes = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 1, 2], [1, 1, 0], [1, 1, 2]])
    logits = F.one_hot(votes, 3).float()
    miss, mimic = Elected(Miss(accepted([0] * 5, 3)), VOTE), Elected(Mimic(torch.ones(5).long()), VOTE)
    assert majority(votes.T).tolist() == [0, 0, -1, 1, 1]
    # To abstain is no right answer, and no answer of anybody's.
    assert miss.reached(logits).tolist() == [False, False, True, True, True]
    assert mimic.reached(logits).tolist() == [False, False, False, True, True]
    assert miss.satisfied(majority(votes.T)).tolist() == miss.reached(logits).tolist()
    likely = torch.tensor([[[0.0, 3.0, 2.0], [0.0, 1.0, 4.0]]])
    (aim,) = Elected(Miss(accepted([0], 3)), VOTE).aims(likely, 1)
    assert torch.allclose(aim.objective(likely, "margin"), torch.tensor([(2 + 4) / 2]))


def test_fgsm_through_a_vote_is_a_step_along_the_gradient_of_the_mean_objective(robustness: Robustness) -> None:
    engine = robustness.engine.behind(VOTE)
    right = [
        outcome.image for outcome in engine.evaluate([i.id for i in engine.images.images]).outcomes if outcome.correct
    ]
    ((batch, found),) = engine.shown([(image_id, 0.01) for image_id in right], FGSM())
    leaf = batch.images.clone().requires_grad_()
    goal, model = Miss(batch.accepted), convnet()
    objective = sum(goal.objective(model(shown)) for shown in VOTE.views(leaf, streams(len(right))))
    (gradient,) = torch.autograd.grad(objective.sum(), leaf)  # type: ignore[union-attr]
    assert torch.allclose(found.images, (leaf + 0.01 * gradient.sign()).clamp(0, 1), atol=2e-7)
    assert torch.allclose(engine.gradients(batch) * 3, gradient, atol=1e-5)


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(),
        PGD(steps=5),
        BIM(steps=5),
        MIFGSM(steps=5),
        APGD(steps=5),
        Square(queries=40),
        FMN(steps=10),
        WorstCase(FGSM(), PGD(steps=3)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("defense", [VOTE, RandomizedSmoothing(sigma=0.05, n=60)], ids=["vote", "smoothing"])
def test_every_attack_goes_through_a_defense_and_is_verified_there(
    robustness: Robustness, attack: Attack, defense: Defense
) -> None:
    engine = robustness.engine.behind(defense)
    ids = [image.id for image in engine.images.images]
    clean, after = engine.evaluate(ids).outcomes, engine.evaluate(ids, attack, 0.1).outcomes
    assert sum(o.correct for o in after) < sum(o.correct for o in clean)
    ((batch, found),) = engine.shown([(image_id, 0.1) for image_id in ids], attack)
    assert (length(found.images - batch.images, "linf") <= 0.1 + 1e-6).all()
    answers = defense.decide(Shown(convnet()), found.images, Streams(0, repr(defense), batch.ids)).answers
    for before, outcome, answer in zip(clean, after, answers.tolist(), strict=True):
        assert outcome.predicted == (None if answer < 0 else str(answer))
        if before.correct:
            assert outcome.queries % defense.view_count == 0
            assert outcome.distance is not None
        else:
            assert outcome == before


@pytest.mark.parametrize("defense", [VOTE, RandomizedSmoothing(sigma=0.05, n=60)], ids=["vote", "smoothing"])
def test_an_image_fares_the_same_behind_a_defense_alone_and_in_company(images: ImageSet, defense: Defense) -> None:
    ids = [image.id for image in images.images]
    attack = PGD(steps=4, random_start=True)
    together = Engine(convnet(), images, device="cpu").behind(defense).evaluate(ids, attack, 0.03).outcomes
    alone = Engine(convnet(), images, device="cpu", batch_size=2).behind(defense)
    for image_id, outcome in list(zip(ids, together, strict=True))[::3]:
        assert alone.evaluate([image_id], attack, 0.03).outcomes[0].predicted == outcome.predicted


def test_targets_are_reached_where_the_vote_answers_with_them(robustness: Robustness) -> None:
    matrix = robustness.behind(VOTE).targeted_matrix(PGD(steps=10), 0.2)
    assert matrix.record.case.defense == "SmoothingVote(kernel=3)"
    alone = robustness.targeted_matrix(PGD(steps=10), 0.2)
    for pair in matrix.record.examples:
        assert pair.outcome.predicted == pair.target
        assert pair.outcome.votes.count(pair.target) >= 2
    assert all(not pair.outcome.votes for pair in alone.record.examples)


def test_an_oblivious_attack_is_that_on_the_model_alone_shown_to_the_defense(robustness: Robustness) -> None:
    engine = robustness.engine
    ids = [image.id for image in engine.images.images]
    attack = PGD(steps=5)
    ((_, found),) = engine.shown([(image_id, 0.05) for image_id in ids], attack)
    outcomes = engine.behind(VOTE).evaluate(ids, Oblivious(attack), 0.05).outcomes
    votes = VOTE.decide(Shown(convnet()), found.images, streams(16)).answers.tolist()
    assert [o.predicted for o in outcomes] == [None if vote < 0 else str(vote) for vote in votes]
    ((_, shown),) = engine.behind(VOTE).shown([(image_id, 0.05) for image_id in ids], Oblivious(attack))
    assert torch.equal(shown.images, found.images)
    assert repr(Oblivious(attack)) == "Oblivious(PGD(steps=5))"
    assert (Oblivious(attack).norm, Oblivious(attack).unit, Oblivious(attack).limit) == ("linf", "epsilon", 1.0)


def test_an_attacker_who_knows_breaks_more_and_a_gate_tells_both_figures(robustness: Robustness) -> None:
    behind = robustness.behind(VOTE)
    behind.assert_accuracy(PGD(), 0.03, at_least=0.01)
    (verdict,) = robustness.verdicts
    known, unknown = verdict.evaluations
    assert known.case.title == "PGD() at epsilon 0.03 behind SmoothingVote(kernel=3)"
    assert unknown.case.title == "Oblivious(PGD()) at epsilon 0.03 behind SmoothingVote(kernel=3)"
    assert known.correct <= unknown.correct
    n = len(unknown.outcomes)
    assert (
        f"\nan attack that does not know of the defense leaves {unknown.correct / n:.4g} ({unknown.correct} of {n}, 95 %"
        in verdict.reason
    )
    assert "oblivious" in verdict.checks
    curves = robustness.defense_curves(PGD(), [0.0, 0.03], VOTE)
    assert [curve.model for curve in curves.curves] == ["the model alone", "defended, unknown", "defended, known"]
    assert [float(curve.points[0.03]) for curve in curves.curves][1:] == [unknown.correct / n, known.correct / n]


def hidden(images: torch.Tensor) -> torch.Tensor:
    """Rounded to 8 bits: of no gradient but zero."""
    return (images * 255).round() / 255


def test_a_filter_that_hides_its_gradient_is_found_out(robustness: Robustness) -> None:
    """Through rounding nothing is seen to climb; the attack on the model alone goes straight through it."""
    behind = robustness.behind(Vote((hidden,)))
    assert behind.accuracy(FGSM(), 0.2) > behind.accuracy(Oblivious(FGSM()), 0.2)
    verdict = failed(lambda: behind.assert_accuracy(FGSM(), 0.2, at_least=0.5)).verdict
    assert verdict.status == "untrusted"
    assert {"gradients", "oblivious"} <= {doubt.check for doubt in verdict.doubts}
    (doubt,) = (doubt for doubt in verdict.doubts if doubt.check == "oblivious")
    assert doubt.said.startswith("Oblivious(FGSM()), made on the model alone, breaks ")
    assert doubt.remedy == (
        "look for what hides the gradient in the defense's filters, or gate on Square() as well, which needs none"
    )


def test_a_gate_on_an_attack_that_does_not_know_of_the_defense_is_not_trusted_where_one_that_does_breaks_more(
    robustness: Robustness,
) -> None:
    behind = robustness.behind(VOTE)
    attack = PGD(steps=10)
    epsilon = next(
        e
        for e in (0.01, 0.02, 0.03, 0.05, 0.08)
        if behind.accuracy(attack, e) + 0.2 < behind.accuracy(Oblivious(attack), e)
    )
    verdict = failed(lambda: behind.assert_accuracy(Oblivious(attack), epsilon, at_least=0.01)).verdict
    assert verdict.status == "untrusted"
    (doubt,) = verdict.doubts
    assert doubt.check == "oblivious"
    assert doubt.said.startswith("PGD(steps=10), which knows of the defense, breaks ")
    assert doubt.remedy == "gate on PGD(steps=10), and look at this one beside it"


def test_every_gate_and_measurement_runs_behind_a_defense(robustness: Robustness) -> None:
    behind = robustness.behind(VOTE)
    noise = GaussianNoise()
    behind.assert_holds_until(behind.engine.images.images[0].id, noise, 0.001)
    behind.assert_breaking_point(noise, at_least=0.001, quantile=0.9)
    behind.assert_curve_above(noise, {0.001: 0.1})
    behind.assert_smallest_epsilon(FMN(steps=10), at_least=0.0001, quantile=0.9)
    behind.assert_corruption_accuracy("brightness", 1, at_least=0.01)
    behind.assert_modify_rate(PGD(), 0.001, at_most=0.9)
    assert [verdict.claim.count("behind SmoothingVote(kernel=3)") for verdict in robustness.verdicts] == [1] * 6
    points = behind.breaking_points(noise, up_to=0.3, levels=3)
    assert repr(points).startswith(
        "breaking points of 16 images under GaussianNoise() behind SmoothingVote(kernel=3): "
    )
    curve = behind.sweep(behind.engine.images.images[0].id, noise, [0.0, 0.5, 1.0], intruder="1")
    assert repr(curve).count(" under GaussianNoise() behind SmoothingVote(kernel=3): ") == 1
    assert {point.intruder for point in curve.points} <= {0.0, round(1 / 3, 6), round(2 / 3, 6), 1.0}
    assert {float(round(3 * point.outcome.subject, 4)) for point in curve.points} <= {0.0, 1.0, 2.0, 3.0}
    # What is asked behind a defense is kept with what is asked of the model alone.
    assert points in robustness.measurements
    assert curve in robustness.measurements


def test_a_defense_changes_nothing_for_the_model_alone(robustness: Robustness) -> None:
    before = robustness.accuracy(GaussianNoise(), 0.1)
    behind = robustness.behind(VOTE)
    behind.accuracy(GaussianNoise(), 0.1)
    assert behind.behind(None).accuracy(GaussianNoise(), 0.1).evaluation == before.evaluation
    assert robustness.engine.defense is None
    assert robustness.engine.behind(None) is robustness.engine
    assert behind.engine.provenance == robustness.engine.provenance


def test_what_is_known_of_a_changed_model_is_forgotten_behind_defenses_too(images: ImageSet) -> None:
    model = convnet()
    alone = Engine(model, images, device="cpu")
    behind = alone.behind(VOTE)
    ids = [image.id for image in images.images]
    before = behind.evaluate(ids)
    was = (alone.provenance.model_digest, behind.provenance.model_digest)
    with torch.no_grad():
        model[-1].weight.copy_(-model[-1].weight)  # type: ignore[index, union-attr, operator]
    assert behind.evaluate(ids) != before
    assert alone.provenance.model_digest == behind.provenance.model_digest
    assert was[0] == was[1] != behind.provenance.model_digest


def test_the_table_of_a_vote_counts_each_voter_and_the_vote(robustness: Robustness) -> None:
    tables = robustness.vote_tables(GaussianNoise(), [0.0, 0.1], VOTE)
    assert robustness.measurements == [tables]
    (table,) = tables
    for row, sigma in zip(table, (0.0, 0.1), strict=True):
        voted = robustness.behind(VOTE).accuracy(GaussianNoise(), sigma)
        assert (row.strength, row.overall.value) == (sigma, voted)
        assert row.alone["none"].value == robustness.accuracy(GaussianNoise(), sigma)
        for times, name in enumerate(row.voters):
            own = Vote((lambda images, times=times: VOTE.views(images, streams(len(images)))[times],))  # type: ignore[misc]
            assert row.alone[name].value == robustness.behind(own).accuracy(GaussianNoise(), sigma)
        assert row.coverage.k + row.rejected.k == row.coverage.n == 16
        assert row.majority == (row.overall.k, row.coverage.k)
    other = robustness.vote_tables(GaussianNoise(), [0.1], Vote((None, hidden)), images=["0/00.png"] * 0 or None)
    assert other[0].voters == ("none", "hidden")


def test_where_images_are_resized_there_is_a_table_for_noise_before_it(images: ImageSet, tmp_path: Path) -> None:
    resized = image_folder(tmp_path, classes=["0", "1", "2"], resize=6)
    assert not images.resized
    assert resized.resized
    after, before = Robustness(Engine(convnet(), resized, device="cpu")).vote_tables(GaussianNoise(), [0.0, 0.2], VOTE)
    assert str(after).startswith("GaussianNoise() behind SmoothingVote(kernel=3), 16 images\n")
    assert str(before).startswith("BeforeResize(GaussianNoise()) behind SmoothingVote(kernel=3), 16 images\n")
    # Where nothing is left to resize the two are the same noise, drawn anew.
    assert next(iter(before)).evaluation.outcomes == next(iter(after)).evaluation.outcomes
    (only,) = Robustness(Engine(convnet(), resized, device="cpu")).vote_tables(
        BeforeResize(GaussianNoise()), [0.2], VOTE
    )
    assert only.evaluations[0] == before.evaluations[1]


def test_a_vote_that_recovers_under_an_attack_that_knows_of_it(robustness: Robustness) -> None:
    ids = [image.id for image in robustness.engine.images.images]
    robustness.assert_vote_recovers(ids[0], FGSM(), 0.0, VOTE)
    verdict = failed(lambda: robustness.assert_vote_recovers(ids, PGD(), 0.2, VOTE)).verdict
    assert verdict.claim == "SmoothingVote(kernel=3) recovers the class under PGD() at epsilon 51/255"
    assert verdict.evaluations[0].case.defense == "SmoothingVote(kernel=3)"


def test_the_gates_of_votes_judge_what_the_engine_says(robustness: Robustness) -> None:
    noise = GaussianNoise()
    (row,) = robustness.vote_tables(noise, [0.5], VOTE)[0]
    share, covered = row.majority.value, row.coverage.value
    robustness.assert_vote_accuracy(noise, 0.5, VOTE, at_least=share, coverage_at_least=covered)
    verdict = robustness.verdicts[-1]
    assert (verdict.gate, verdict.status, verdict.margin) == ("vote-accuracy", "pass", 0.0)
    lost = failed(
        lambda: robustness.assert_vote_accuracy(PGD(), 0.1, VOTE, at_least=1.0, coverage_at_least=1.0)
    ).verdict
    assert (lost.gate, lost.status) == ("vote-accuracy", "fail")
    gain = row.overall.value - row.alone["double"].value
    lost = failed(lambda: robustness.assert_vote_gains(noise, 0.5, VOTE, over="double", margin=0.9)).verdict
    assert (lost.gate, lost.status) == ("vote-gains", "fail")
    assert lost.measured == pytest.approx(gain)
    # Each image is in the folder of what the vote says.
    robustness.assert_vote_gains(noise, 0.0, VOTE)
    assert (robustness.verdicts[-1].gate, robustness.verdicts[-1].status) == ("vote-gains", "pass")


def test_a_gate_over_accepted_images_needs_a_coverage(robustness: Robustness) -> None:
    assert said(lambda: robustness.assert_vote_accuracy(GaussianNoise(), 0.1, VOTE, at_least=0.5)) == (
        "expected coverage_at_least=, the share of the images that the vote has to accept, got none; a vote that rejects all but "
        "the easiest image is always right, so its accuracy means nothing without its coverage"
    )


def test_certified_accuracy_counts_what_is_right_and_certified(robustness: Robustness) -> None:
    smoothing = RandomizedSmoothing(sigma=0.05, n=200, n0=20)
    certified = robustness.certified_accuracy(smoothing)
    outcomes = (
        robustness.engine.behind(smoothing.certifying)
        .evaluate([i.id for i in robustness.engine.images.images])
        .outcomes
    )
    assert certified.evaluation.outcomes == outcomes
    assert all(o.radius is not None and (o.radius > 0) == (o.predicted is not None) for o in outcomes)
    share = certified.at(0.03)
    robustness.assert_certified_accuracy(smoothing, 0.03, at_least=share)
    verdict = robustness.verdicts[-1]
    assert (verdict.gate, verdict.status, verdict.measured) == ("certified-accuracy", "pass", share)
    assert verdict.claim == (
        f"certified accuracy of RandomizedSmoothing(sigma=0.05, n=200, n0=20).certifying at L2 radius 0.03 >= {share:g}"
    )
    unsure = failed(
        lambda: robustness.assert_certified_accuracy(smoothing, 0.03, at_least=share, confidence=0.95)
    ).verdict
    assert unsure.status == "undecided"
    assert failed(lambda: robustness.assert_certified_accuracy(smoothing, 0.09, at_least=1.0)).verdict.status == "fail"


def test_no_attack_within_a_certified_radius_succeeds(robustness: Robustness) -> None:
    smoothing = RandomizedSmoothing(sigma=0.1, n=400, n0=50)
    certified = robustness.certified_accuracy(smoothing)
    radius = 0.04
    safe = [o.image for o in certified.evaluation.outcomes if o.correct and (o.radius or 0) > radius]
    assert safe
    behind = robustness.behind(smoothing)
    for attack in (PGD(steps=10, norm="l2"), FGSM(norm="l2"), Square(queries=30, norm="l2")):
        outcomes = behind.accuracy(attack, radius, images=safe).evaluation.outcomes
        assert all(outcome.predicted in (None, *outcome.accepted) for outcome in outcomes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r: r.vote_tables(FGSM(), [0.1]),
            "expected a perturbation for the table of a vote, got FGSM(); use defense_curves, which compares an attack that knows of "
            "the vote with one that doesn't",
        ),
        (
            lambda r: r.vote_tables(GaussianNoise(), [0.1], RandomizedSmoothing(sigma=0.1)),
            "expected a vote such as SmoothingVote() or Vote((None, denoiser)), got RandomizedSmoothing(sigma=0.1)",
        ),
        (
            lambda r: r.vote_tables(GaussianNoise(), [0.1], SmoothingVote),
            "expected a vote such as SmoothingVote() or Vote((None, denoiser)), got SmoothingVote",
        ),
        (
            lambda r: r.defense_curves(GaussianNoise(), [0.1], VOTE),
            "expected an attack, whose strength is the radius of a ball, got GaussianNoise(); use vote_tables for a perturbation",
        ),
        (
            lambda r: r.certified_accuracy(VOTE),
            "expected RandomizedSmoothing(sigma=...), which certifies, got SmoothingVote(kernel=3)",
        ),
        (
            lambda r: r.assert_certified_accuracy(RandomizedSmoothing(sigma=0.1), 1, at_least=0.1),
            "RandomizedSmoothing(sigma=0.1): expected a radius up to 0.2463, which is certified where all draws agree, got 1; take a "
            "larger n or sigma",
        ),
        (
            lambda r: r.assert_vote_gains(GaussianNoise(), 0.1, VOTE, over="triple"),
            "SmoothingVote(kernel=3): expected over= to be one of its voters 'none', 'single', 'double', got 'triple'",
        ),
        (
            lambda r: r.behind("vote"),
            "expected a defense such as SmoothingVote(), got 'vote'; make an instance of a defense",
        ),
        (
            lambda r: r.behind(VOTE).trace("0/00.png", FGSM(), 0.1),
            "expected to follow an attack on the model alone, got one behind SmoothingVote(kernel=3); trace it without",
        ),
        (lambda r: Oblivious(GaussianNoise()), "Oblivious: expected an attack such as FGSM(), got GaussianNoise()"),
        (
            lambda r: Oblivious(Oblivious(FGSM())),
            "Oblivious: expected an attack such as FGSM(), got Oblivious(FGSM())",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    robustness: Robustness, call: Callable[[Robustness], object], message: str
) -> None:
    name = robustness.engine.images.images[0].id
    if "follow" in message:
        assert said(lambda: robustness.behind(VOTE).trace(name, FGSM(), 0.1)) == message
        return
    assert said(lambda: call(robustness)) == message


def test_an_attack_of_another_library_can_be_made_on_the_model_alone_only(robustness: Robustness) -> None:
    def function(model: object, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return 1 - images

    behind = robustness.behind(VOTE)
    assert said(lambda: behind.accuracy(foreign(function, "linf"), 0.1)).endswith(
        "expected the goal Miss or Mimic, which other libraries know too, got Elected; behind a defense use an attack of this package, "
        "or Oblivious(...) of this one"
    )
    assert 0 <= behind.accuracy(Oblivious(foreign(function, "linf")), 0.1) <= 1


def test_a_perturbation_that_cannot_be_differentiated_may_be_a_voter_beside_others(robustness: Robustness) -> None:
    vote = Vote((None, gaussian_blur, fixed(JPEG(), 0.5)))
    behind = robustness.behind(vote)
    assert behind.accuracy(PGD(steps=5), 0.2) < behind.accuracy()

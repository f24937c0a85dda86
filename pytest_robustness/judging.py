"""How a gate is judged: with pictures of what fell and the doubts about the attack, kept whatever comes of it."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from pytest_robustness.baselines import Baseline
from pytest_robustness.bounds import check_confidence
from pytest_robustness.doubts import checked_waivers, consequences, merged
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.explained import Picture
from pytest_robustness.explaining import Explaining
from pytest_robustness.explanations import Explainer
from pytest_robustness.gates import AccuracyAtLeast, GateFailed
from pytest_robustness.measuring import Sample
from pytest_robustness.records import Evaluation, Verdict
from pytest_robustness.remedies import fell, remedy
from pytest_robustness.results import Results
from pytest_robustness.shards import Shard
from pytest_robustness.trust import Trust
from pytest_robustness.types import Attack, Defense, Perturbation, fits
from pytest_robustness.views import Album, pictures

__all__ = ["Explain", "Judging"]

Explain: TypeAlias = Literal["failed", "all", "none"]
"""Of which gates over images the pictures come with explanations: of those that did not pass, of all, of none."""


class Judging(Explaining):
    """What the assertions of a `Robustness` have in common, whose arguments are told there."""

    def __init__(
        self,
        engine: Engine,
        *,
        company: Callable[[str, tuple[Any, ...]], Sequence[str]] | None = None,
        album: Album | None = None,
        fast: bool = False,
        waive: Mapping[str, str] | None = None,
        trust: Trust | None = None,
        shard: Shard | None = None,
        explain: Explain = "none",
        by: Explainer | None = None,
        baseline: Baseline | Results | Path | None = None,
        confidence: float | None = None,
        sample: Sample = tuple,
    ) -> None:
        super().__init__(engine, company=company, album=album, shard=shard, sample=sample)
        self._baseline = Baseline(baseline) if isinstance(baseline, (Path, Results)) else baseline
        self._explain = explain
        self._by = by
        check_confidence(confidence)
        self._confidence = confidence
        self.verdicts: list[Verdict] = []
        self._fast = fast
        self._waive = checked_waivers({} if waive is None else waive)
        self._trust = trust if trust is not None else Trust(engine)

    def behind(self, defense: Defense | None) -> Self:
        """All of this, measurements and assertions, over the model behind a defense, None for the model alone.

        A defense is a classifier: an image is wrong where it answers wrongly or abstains. An attack goes through it, and knows
        it; `Oblivious(attack)` is made on the model alone. What is judged and measured behind it is kept with the rest. Raises
        InputError for what is no defense.
        """
        defended = copy.copy(self)
        defended._trust = self._trust.behind(defense)
        defended.engine = defended._trust.engine
        return defended

    def _sure(self, confidence: float | None) -> float | None:
        """The confidence to judge at: what the assertion says, else what all of them are judged at."""
        return self._confidence if confidence is None else confidence

    @property
    def _part(self) -> str:
        """What a gate over pairs has but a part of them for; empty where it has all."""
        return "" if self.shard is None else self.shard.title

    def _until_decided(
        self,
        gate: AccuracyAtLeast,
        ids: Sequence[str],
        stress: Attack | Perturbation | None,
        strength: float,
    ) -> Evaluation:
        """The outcomes of as many images as it takes to decide the gate for all of them, the shakiest first.

        How many depends on the outcomes alone, never on what was known before or on the size of the batches.
        """
        self.engine.case(stress, strength)
        clean = self.engine.behind(None).evaluate(ids).outcomes
        order = [outcome.image for outcome in sorted(clean, key=lambda outcome: (outcome.margin, outcome.image))]
        done, size = 0, self.engine.batch_size
        while True:
            done = min(len(order), done + size)
            evaluation = self.engine.evaluate(order[:done], stress, strength)
            decided = gate.decided(evaluation, of=len(order))
            if decided is not None:
                return Evaluation(evaluation.case, evaluation.outcomes[:decided])

    def _conclude(
        self,
        verdict: Verdict,
        stress: Attack | Perturbation | None,
        strengths: Sequence[float],
        worst: Sequence[tuple[str, float]],
    ) -> None:
        """Keep the verdict, with pictures of the worst images where it failed and of the examples of its matrix, and raise unless it
        passed and is trusted.

        `strengths` are those at which something is required. On a shard, a gate over pairs has a part of them, and is judged when
        the shards are merged.
        """
        if self.shard is not None and not verdict.matrices:
            raise InputError(
                f"{verdict.claim}: expected a gate over a targeted matrix, because this test is on every shard, each time with other "
                "pairs; judge others in a test of their own, without shard='pairs'"
            )
        views: tuple[Picture, ...] = ()
        if stress is not None and (verdict.status != "pass" or self._explain == "all"):
            chosen = worst
            if verdict.status == "pass" and not worst:
                chosen = [(image_id, max(strengths)) for image_id in _images(verdict)]
            shown = chosen[: self._album.take(verdict.claim, len(chosen))]
            why = None if self._explain == "none" else self._explainers(self._by)
            made = (pictures(self.engine, image, stress, strength, why) for image, strength in shown)
            views = tuple(view for pair in made for view in pair)
        for matrix in verdict.matrices:
            if matrix not in self.pictures and isinstance(stress, Attack):
                self._picture(matrix, stress)
                views += self.pictures[matrix]
        if verdict.status == "fail":
            todo = self._remedy(verdict, stress)
            verdict = dataclasses.replace(verdict, reason=f"{verdict.reason}\n{todo}".rstrip())
        changed: dict[str, Any] = {}
        if fits(stress, Attack):
            found = [self._trust.doubts(stress, strength) for strength in strengths if strength]  # type: ignore[arg-type]
            changed = consequences(verdict, *merged(found, self._waive))
        fallen = tuple((image_id, float(at)) for image_id, at in worst) if verdict.status == "fail" else ()
        run = self.engine.provenance.key
        verdict = dataclasses.replace(verdict, pictures=views, fallen=fallen, run=run, **changed)
        self.verdicts.append(verdict)
        if verdict.status != "pass" and (self.shard is None or verdict.status != "undecided"):
            raise GateFailed(verdict)

    def _remedy(self, verdict: Verdict, stress: Attack | Perturbation | None) -> str:
        """What to do about a verdict that failed."""
        defended = self.engine.defense is not None
        if stress is None:
            return remedy(verdict, under=None, defended=defended)
        fallen = fell(verdict)
        clean = self.engine.evaluate(fallen).outcomes if fallen else ()
        wrong = sum(not outcome.correct for outcome in clean)
        under: Literal["attack", "perturbation"] = "attack" if fits(stress, Attack) else "perturbation"
        return remedy(verdict, under=under, wrong=wrong, defended=defended)


def _images(verdict: Verdict) -> list[str]:
    """The images that a verdict is about."""
    ladders = [ladder.image for ladder in verdict.ladders]
    return ladders or [outcome.image for evaluation in verdict.evaluations[:1] for outcome in evaluation.outcomes]

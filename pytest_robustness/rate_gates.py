"""Gates over matrices of targeted attacks: how often classes may be modified, or mimicked, at most."""

from dataclasses import dataclass
from typing import Literal

from pytest_robustness.bounds import check_confidence, sure, undecided_text, with_confidence
from pytest_robustness.errors import InputError
from pytest_robustness.matrices import TargetedMatrix
from pytest_robustness.rates import Rate, ends
from pytest_robustness.records import Verdict
from pytest_robustness.stats import enough_for_mean, upper_mean_bound

__all__ = ["RateAtMost"]


@dataclass(frozen=True)
class RateAtMost:
    """The modify, or the mimic, rate is at most this share, in [0, 1).

    `of` says which: the "median" of the classes, the "worst" of them, which is the highest, or that of one class or group by
    its name. With a `confidence` in [0.5, 1), that of all images of which these are a sample: an upper bound in which an image counts once,
    whatever the number of its targets. The bound of a median is that of the half of the classes, and one more, whose bounds are lowest,
    by a partial conjunction (Benjamini and Heller 2008).
    """

    kind: Literal["modify", "mimic"]
    at_most: float
    of: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        if isinstance(self.at_most, bool) or not isinstance(self.at_most, (int, float)) or not 0 <= self.at_most < 1:
            raise InputError(
                f"expected at_most to be a share in [0, 1), got {self.at_most!r}; a gate at 1 would pass every model"
            )

    @classmethod
    def of_verdict(cls, verdict: Verdict) -> "RateAtMost | None":
        """The gate that gave this verdict, to judge with more pairs; None where it was another kind."""
        if verdict.gate not in ("modify-rate", "mimic-rate") or verdict.required is None:
            return None
        return cls(
            "modify" if verdict.gate == "modify-rate" else "mimic", verdict.required, verdict.of, verdict.confidence
        )

    def judge(self, view: TargetedMatrix, *, part: str = "") -> Verdict:
        """The verdict on a matrix, undecided where it has but a `part` of the pairs, as `shard 2 of 8`.

        Raises InputError for what is no class or group of the matrix, and for one that nothing was tried with.
        """
        value, rate, told = self._measured(view, partial=bool(part))
        passed = value is not None and value <= self.at_most + 1e-9
        over = "" if passed or part or value is None else f", above by {value - self.at_most:.4g}"
        bound, sentences = (None, []) if value is None or self.confidence is None else self._bound(view, value, rate)
        rates = view.easiest_to_modify if self.kind == "modify" else view.easiest_to_mimic
        pairs = f"{view.pairs:,} pairs" if view.pairs != 1 else "1 pair"
        lines = [
            f"{part}: {view.pairs:,} of {view.record.planned:,} planned pairs, judged when all shards are merged"
            * bool(part),
            f"{told}, required <= {self.at_most:g}{over}",
            *sentences,
            ends(rates) * (len(rates) > 1),
            f"{pairs}; left out: {view.left_out}",
        ]
        return Verdict(
            gate=f"{self.kind}-rate",
            claim=f"{self._subject} under {view.question} <= {self.at_most:g}{with_confidence(self.confidence)}",
            status="undecided" if part else sure(passed, bound is None or bound <= self.at_most),
            reason="\n".join(line for line in lines if line),
            measured=value if bound is None else bound,
            required=float(self.at_most),
            margin=None if value is None else self.at_most - (value if bound is None else bound),
            n=view.pairs if rate is None else rate.attempts,
            interval=None if rate is None else rate.interval,
            matrices=(view.record,),
            of=self.of,
            confidence=self.confidence,
        )

    def _bound(self, view: TargetedMatrix, value: float, rate: Rate | None) -> tuple[float, list[str]]:
        """The upper bound of what is required to be small, and the sentences about it."""
        assert self.confidence is not None
        rates = view.modify_rates if self.kind == "modify" else view.mimic_rates
        risk, enough = 1 - self.confidence, None
        if self.of == "median":
            half = len(rates) // 2
            bound = sorted(self._upper(view, own, 1 - risk / (len(rates) - half)) for own in rates.values())[half]
        elif self.of == "worst":
            bound = max(self._upper(view, own, self.confidence) for own in rates.values())
        else:
            assert rate is not None
            bound = self._upper(view, rate, self.confidence)
            enough = enough_for_mean(value, self._images(view, rate), self.at_most, confidence=self.confidence)
        told = [f"at confidence {self.confidence:g}, at most {bound:.4g} over all such images"]
        if value <= self.at_most < bound:
            more = "undecided: the estimate clears the bar, its bound does not; take more images of each class"
            told.append(more if self.of in ("median", "worst") else undecided_text(enough, "rate"))
        return bound, told

    def _images(self, view: TargetedMatrix, rate: Rate) -> int:
        return view.images_of(rate.name) if self.kind == "modify" else view.images_towards(rate.name)

    def _upper(self, view: TargetedMatrix, rate: Rate, confidence: float) -> float:
        return upper_mean_bound(rate.value, self._images(view, rate), confidence=confidence)

    @property
    def _subject(self) -> str:
        named = {"median": f"median {self.kind} rate", "worst": f"highest {self.kind} rate of a class"}
        return named.get(self.of, f"{self.kind} rate of {self.of}")

    def _measured(self, view: TargetedMatrix, *, partial: bool) -> tuple[float | None, Rate | None, str]:
        """What is required to be small, the rate that it is where it is one, and both in words."""
        modify = self.kind == "modify"
        rates = view.modify_rates if modify else view.mimic_rates
        by_group = view.modify_rates_by_group if modify else view.mimic_rates_by_group
        if self.of not in ("median", "worst"):
            view.check_name(self.of)
        if self.of == "worst" and rates:
            worst = (view.easiest_to_modify if modify else view.easiest_to_mimic)[0]
            return worst.value, worst, f"{self._subject} {worst}: {worst.name}"
        if self.of == "median" and (rates or not partial):
            median = view.median_modify_rate if modify else view.median_mimic_rate
            return median, None, f"{self._subject} {median:.4g} of {len(rates)} classes"
        rate = by_group.get(self.of, rates.get(self.of))
        if rate is not None:
            return rate.value, rate, f"{self._subject} {rate}"
        if not partial:
            side = "images right when clean of" if modify else "attempts towards"
            raise InputError(
                f"expected {side} {'any class' if self.of == 'worst' else repr(self.of)}, got none; a gate over nothing would pass "
                "every model"
            )
        return None, None, f"{self._subject}: nothing tried yet"

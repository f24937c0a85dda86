"""The gate that asks for no more than the release before had, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_robustness.comparing import ROUNDING
from pytest_robustness.errors import InputError
from pytest_robustness.measurements import proportion_text
from pytest_robustness.records import Evaluation, Outcome, Verdict
from pytest_robustness.stats import mcnemar

__all__ = ["NoWorseThan"]

_NAMED = 5


@dataclass(frozen=True)
class NoWorseThan:
    """The accuracy is at most `drop`, a share in [0, 1), below that of the baseline on the same images."""

    drop: float = 0.0

    def __post_init__(self) -> None:
        drop = self.drop
        if isinstance(drop, bool) or not isinstance(drop, (int, float)) or not 0 <= drop < 1:
            raise InputError(f"expected a drop as a share in [0, 1), got {drop!r}; divide percents by 100")

    def judge(
        self, now: Evaluation, before: Sequence[Outcome | None], *, name: str, beside: Sequence[str] = ()
    ) -> tuple[Verdict, tuple[Outcome, ...]]:
        """The verdict, and the images that were lost, those first whose accepted classes got least.

        `before` are the outcomes of the same images in the baseline called `name`, None for those that it doesn't have; `beside` are
        the cases of the same stress that it has.
        """
        known = [outcome for outcome in before if outcome is not None]
        if len(known) < len(now.outcomes):
            missing = [own.image for own, was in zip(now.outcomes, before, strict=True) if was is None]
            has = f"{len(known)} of {len(now.outcomes)} images, not {_named(missing)}" if known else "none of it"
            has += f" but {_named(beside)}" if beside and not known else ""
            reason = f"expected {now.case.title} in the baseline {name}, got {has}; run once with --robustness-update-baseline"
            return self._verdict(now, "fail", reason), ()
        pairs = list(zip(now.outcomes, known, strict=True))
        lost = sorted(
            (own for own, was in pairs if was.correct > own.correct), key=lambda own: (own.subject, own.image)
        )
        gained = [own.image for own, was in pairs if own.correct > was.correct]
        then = Evaluation(now.case, tuple(known))
        change = (now.correct - then.correct) / len(pairs)
        passed = -change <= self.drop + ROUNDING
        lines = [
            f"accuracy {proportion_text(now)}",
            f"in the baseline {proportion_text(then)}: {change:+.4g}, required >= {0.0 - self.drop:g}",
            f"{len(lost)} lost and {len(gained)} gained, p = {mcnemar(len(lost), len(gained)):.2g} (exact McNemar), against {name}",
        ]
        if lost:
            lines.append(f"lost: {_named([f'{own.image} ({own.answer})' for own in lost])}")
        if gained:
            lines.append(f"gained: {_named(gained)}")
        return self._verdict(now, "pass" if passed else "fail", "\n".join(lines), change), tuple(lost)

    def _verdict(self, now: Evaluation, status: str, reason: str, change: float | None = None) -> Verdict:
        within = f"at most {self.drop:g} below" if self.drop else "no worse than"
        return Verdict(
            gate="no-worse",
            claim=f"accuracy under {now.case.title} is {within} the baseline's",
            status=status,  # type: ignore[arg-type]
            reason=reason,
            measured=change,
            required=0.0 - self.drop,
            margin=None if change is None else change + self.drop,
            n=len(now.outcomes),
            evaluations=(now,),
        )


def _named(images: Sequence[str]) -> str:
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return ", ".join(images[:_NAMED]) + more

"""What a measurement on some images tells of all such images, of which they are a sample: exact bounds, and sentences about them."""

from collections.abc import Iterable

from pytest_robustness.errors import InputError
from pytest_robustness.records import Status
from pytest_robustness.stats import enough_for, lower_bound

__all__ = ["bound_text", "check_confidence", "quantile_bound", "sure", "undecided_text", "with_confidence"]


def check_confidence(confidence: object) -> None:
    """Refuse what is neither None nor a confidence in [0.5, 1)."""
    if confidence is None:
        return
    if not isinstance(confidence, (int, float)) or isinstance(confidence, bool) or not 0.5 <= confidence < 1:
        raise InputError(f"expected a confidence in [0.5, 1), such as 0.95, or none, got {confidence!r}")


def with_confidence(confidence: float | None) -> str:
    """How a claim ends that is judged at a confidence: ` at confidence 0.95`."""
    return "" if confidence is None else f" at confidence {confidence:g}"


def sure(estimate: bool, bound: bool) -> Status:
    """The status of a gate that the estimate clears, or not, and its bound as well, or not."""
    return "fail" if not estimate else "pass" if bound else "undecided"


def bound_text(k: int, n: int, bar: float, confidence: float, *, doing: str = "", alike: str = "accuracy") -> str:
    """What k of n tell of all images: the exact lower bound and, where it is too low alone, how many images would decide.

    `doing` is what the k images do, as ` hold until alpha 0.2`, and `alike` what further images would have to have in common with these.
    """
    bound = lower_bound(k, n, confidence=confidence)
    told = f"at confidence {confidence:g}, at least {bound:.4g} of all such images{doing}"
    if bound >= bar or k / n < bar:
        return told
    return f"{told}\n{undecided_text(enough_for(k, n, bar, confidence=confidence), alike)}"


def undecided_text(enough: int | None, alike: str) -> str:
    """That only the estimate clears the bar, and that `enough` images would decide, or that no number would."""
    remedy = (
        f"{enough:,} images with the same {alike} would decide"
        if enough
        else f"no number of images with this {alike} would"
    )
    return f"undecided: the estimate clears the bar, its bound does not; {remedy}"


def quantile_bound(values: Iterable[float], share: float, confidence: float) -> float | None:
    """The largest of the values that, with this confidence, all but at most `share` of all such images reach.

    None where there are too few values to promise any: an order statistic, by the exact bound of the share that reaches it.
    """
    ordered = sorted(values)
    n = len(ordered)
    reached = (low for low in range(n) if lower_bound(n - low, n, confidence=confidence) >= round(1 - share, 12))
    return max((ordered[low] for low in reached), default=None)

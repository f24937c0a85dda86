"""What to do about a gate that failed, in a sentence or two below its reason."""

from typing import Literal

from pytest_robustness.records import Verdict

__all__ = ["fell", "remedy"]

_LOOK = ("explanation-stable", "attends-to")
_TRAIN = {"attack": "train against such attacks", "perturbation": "train with such images"}


def fell(verdict: Verdict) -> tuple[str, ...]:
    """The images that keep a verdict from being better: those that break, or are wrong where it was asked first."""
    broken = [ladder.image for ladder in verdict.ladders if ladder.broke is not None]
    wrong = [own.image for evaluation in verdict.evaluations[:1] for own in evaluation.outcomes if not own.correct]
    return tuple(broken or wrong)


def remedy(
    verdict: Verdict, *, under: Literal["attack", "perturbation"] | None, wrong: int = 0, defended: bool = False
) -> str:
    """What to do about a failed verdict, empty where its reason says it, on a model alone or `defended`, `under` one kind of stress or under none.

    `wrong` counts the images of `fell` that are wrong without the stress as well: no training against the stress helps them.
    """
    if verdict.gate == "no-worse":
        # What to do stands in its reason, and depends on the release before.
        return ""
    if verdict.gate in _LOOK:
        return "to do: see in the report what the model looks at, train where it should not look there, or ask for less"
    lines = []
    n = len(fell(verdict))
    if under is not None and wrong:
        which = (
            "the image is"
            if n == wrong == 1
            else f"{wrong} of the {n} images that fall {'is' if wrong == 1 else 'are'}"
        )
        lines.append(f"{which} wrong without the stress as well: look at labels and preprocessing first")
    if under is None or (wrong and wrong == n):
        todo = ["look at the labels, the order of the classes and the preprocessing"]
    else:
        todo = [_TRAIN[under]] + ["put a defense in front, by robustness.behind(...)"] * (not defended)
    lines.append(f"to do: {', '.join(todo)}, or ask for less")
    return "\n".join(lines)

"""Results as one flat object of numbers, as experiment trackers take them."""

import collections
import dataclasses
import hashlib
import json
import re

from pytest_robustness.report.series import Series, series, totals
from pytest_robustness.results import Results

__all__ = ["flat", "render"]

# MLflow's limit. Its names hold letters, digits, underscores, dashes, periods, spaces and slashes; W&B and DVC take these as well.
_LONGEST = 250
_OTHERS = re.compile(r"[^\w.\- ]+")


def render(results: Results) -> str:
    """The numbers as JSON, the totals first, then gate by gate in the order of the tests."""
    return json.dumps(flat(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def flat(results: Results) -> dict[str, float]:
    """Each number by its name: `robustness/failed`, `test_release.py/test_fgsm/accuracy under FGSM at epsilon 2-255/margin`.

    The name of a gate has the test's path and the claim, without the bar, in characters that trackers take; where there are
    several models, the model as well. What a gate did not measure has no name. Yes and no are 1 and 0.
    """
    found: dict[str, float] = {
        f"robustness/{name}": int(number) for name, number in dataclasses.asdict(totals(results)).items()
    }
    every = series(results)
    several = len({own.model for own in every if own.model}) > 1
    seen: collections.Counter[str] = collections.Counter()
    for own in every:
        name = _name(own, several=several)
        # Two names may differ only in what trackers don't take.
        seen[name] += 1
        name += f" {seen[name]}" if seen[name] > 1 else ""
        numbers = {
            "measured": own.measured,
            "required": own.required,
            "margin": own.margin,
            "n": own.n,
            "passed": int(own.status == "pass"),
        }
        found.update((f"{name}/{what}", number) for what, number in numbers.items() if number is not None)
    return found


def _name(own: Series, *, several: bool) -> str:
    parts = [*own.test.replace("::", "/").split("/"), *([own.model] if several else []), own.question]
    cleaned = (" ".join(_OTHERS.sub(" ", part.replace("/", "-")).split()) for part in parts)
    # A tracker that makes folders of the parts must stay below its own.
    name = "/".join(part for part in cleaned if part.strip("."))
    room = _LONGEST - len(" 999/required")
    if len(name) <= room:
        return name
    return f"{name[: room - 9]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"

"""Verdicts as the properties of a test case in JUnit's XML."""

from collections.abc import Iterator, Sequence

from pytest_robustness.records import Verdict

__all__ = ["PREFIX", "properties"]

PREFIX = "robustness."


def properties(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    """Names and values, all of them text: `robustness.gate`, `robustness.margin`; of several verdicts `robustness.2.margin`.

    What a gate did not measure has no property, and `expected` is there only where the test asked for the failure.
    """
    for number, verdict in enumerate(verdicts, start=1):
        of = f"{PREFIX}{number}." if len(verdicts) > 1 else PREFIX
        found = {
            "gate": verdict.gate,
            "claim": verdict.claim,
            "status": verdict.status,
            "expected": "true" if verdict.expected else "",
            "measured": _number(verdict.measured),
            "required": _number(verdict.required),
            "margin": _number(verdict.margin),
            "n": str(verdict.n or ""),
            "reproduce": verdict.reproduce,
        }
        yield from ((of + name, value) for name, value in found.items() if value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

"""Doubts about an attack: what the checks are called, who waives them, and what becomes of a verdict that has some."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_robustness.classes import nearest
from pytest_robustness.errors import InputError
from pytest_robustness.records import Doubt, Verdict

__all__ = ["CHECKS", "checked_waivers", "consequences", "merged"]

CHECKS = (
    "training-mode",
    "repeatable",
    "company",
    "input-range",
    "logit-scale",
    "gradients",
    "unbounded",
    "oblivious",
    "single-step",
    "black-box",
    "converged",
)
"""The names of the checks, in the order in which doubts are told; `trust` makes them."""


def checked_waivers(waive: object, where: str = "") -> dict[str, str]:
    """The waivers: the name of a check -> the reason why what it finds does not count.

    Raises InputError, which begins with `where`, for anything else: an unknown check, or none as the reason.
    """
    if not isinstance(waive, Mapping):
        raise InputError(
            f"{where}expected waive to map the names of checks to reasons, got {waive!r}; "
            "write waive={'repeatable': 'randomised on purpose'}"
        )
    for name, reason in waive.items():
        if name not in CHECKS:
            near = nearest(name, CHECKS) if isinstance(name, str) else ""
            raise InputError(f"{where}expected waive to name checks out of {', '.join(CHECKS)}, got {name!r}{near}")
        if not isinstance(reason, str) or not reason.strip():
            raise InputError(
                f"{where}expected a reason for waiving {name!r}, in words that the report can show, got {reason!r}"
            )
    return dict(waive)


def merged(
    found: Sequence[tuple[Sequence[str], Sequence[Doubt]]], waive: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[Doubt, ...]]:
    """What the checks at several strengths found, together: of each check its first doubt, with the reason if it is waived."""
    checks = tuple(dict.fromkeys(name for names, _ in found for name in names))
    doubts: dict[str, Doubt] = {}
    for _, own in found:
        for doubt in own:
            doubts.setdefault(doubt.check, dataclasses.replace(doubt, waiver=waive.get(doubt.check, "")))
    return checks, tuple(doubts[name] for name in CHECKS if name in doubts)


def consequences(verdict: Verdict, checks: Sequence[str], doubts: Sequence[Doubt]) -> dict[str, Any]:
    """The fields of the verdict that are others after these checks of the attack, which found these doubts.

    A pass in doubt is untrusted, and its reason says what to do about each doubt; any other verdict stays what it is, its
    reason with the doubts in a line each. Doubts that are waived are kept, and change nothing.
    """
    changed: dict[str, Any] = {"checks": tuple(checks), "doubts": tuple(doubts)}
    standing = [doubt for doubt in doubts if not doubt.waiver]
    if standing and verdict.status == "pass":
        told = [
            f"untrusted, {doubt.check}: {doubt.said}; {doubt.remedy}, or waive={{{doubt.check!r}: 'why it does not count'}}"
            for doubt in standing
        ]
        changed |= {"status": "untrusted", "reason": "\n".join([verdict.reason.partition("\n")[0], *told])}
    elif standing:
        told = [f"in doubt: {doubt.check}: {doubt.said}" for doubt in standing]
        changed["reason"] = "\n".join([verdict.reason, *told])
    return changed

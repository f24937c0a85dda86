"""Results in the text format of OpenMetrics 1.0, for Prometheus and what reads the same."""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from pytest_robustness.records import Status
from pytest_robustness.report.series import Series, models, series, totals
from pytest_robustness.results import Results

__all__ = ["render"]

_Labels = Mapping[str, str]


def render(results: Results) -> str:
    """Gauges by gate (test, gate, claim, model), the state of each, totals, and what was measured on.

    A claim stands without its bar, which is a gauge of its own, so that a series goes on where the bar is raised. What a gate
    measured is in the unit of its gate, so it has none here.
    """
    return "\n".join([*_lines(results), "# EOF", ""])


def _lines(results: Results) -> Iterator[str]:
    every = [(_labels(own), own) for own in series(results)]
    yield from _family(
        "robustness_gate_measured",
        "What the gate measured, in its own unit; of a gate over items, the share that passed.",
        ((labels, own.measured) for labels, own in every if own.measured is not None),
    )
    yield from _family(
        "robustness_gate_required",
        "What the gate requires, in its own unit.",
        ((labels, own.required) for labels, own in every if own.required is not None),
    )
    yield from _family(
        "robustness_gate_margin",
        "By how much the gate is cleared, below 0 where it is not; of a gate over items, by the worst of them.",
        ((labels, own.margin) for labels, own in every if own.margin is not None),
    )
    yield from _family(
        "robustness_gate_n",
        "How many images, or pairs of an image and a target, the gate was judged on.",
        ((labels, own.n) for labels, own in every),
    )
    yield from _family(
        "robustness_gate_status",
        "What the gate came to; only pass is green.",
        (
            ({**labels, "robustness_gate_status": status}, int(own.status == status))
            for labels, own in every
            for status in get_args(Status)
        ),
        kind="stateset",
    )
    yield from _totals(results)
    yield from _runs(results)


def _totals(results: Results) -> Iterator[str]:
    found = totals(results)
    counts = {
        "pass": found.passed,
        "fail": found.failed,
        "undecided": found.undecided,
        "untrusted": found.untrusted,
        "error": found.errors,
        "xfail": found.expected,
    }
    told = "How many gates came to what; xfail are those that failed as their tests expect."
    yield from _family("robustness_gates", told, (({"status": name}, count) for name, count in counts.items()))
    yield from _family("robustness_complete", "Whether the session finished.", [({}, int(found.complete))])
    yield from _family("robustness_green", "Whether a release may pass.", [({}, int(found.green))])


def _runs(results: Results) -> Iterator[str]:
    named = models(results)
    runs = [({"model": named[run.key]}, run) for run in results.runs]
    yield from _family(
        "robustness_run_images",
        "How many images the image set has.",
        ((model, run.n) for model, run in runs),
        unit="images",
    )
    yield from _family(
        "robustness_run",
        "What the numbers were measured on.",
        (
            (
                {
                    **model,
                    "model_digest": run.model_digest,
                    "images": run.images,
                    "images_digest": run.images_digest,
                    "device": run.device,
                    "seed": str(run.seed),
                    "precision": run.precision,
                    "profile": results.profile,
                },
                1,
            )
            for model, run in runs
        ),
        kind="info",
    )


def _family(
    name: str, told: str, samples: Iterable[tuple[_Labels, float]], *, kind: str = "gauge", unit: str = ""
) -> Iterator[str]:
    """The lines of one metric; none where it has no sample."""
    lines = [
        f"{name}{'_info' if kind == 'info' else ''}{_written(labels)} {float(value)!r}" for labels, value in samples
    ]
    if lines:
        yield f"# TYPE {name} {kind}"
        if unit:
            yield f"# UNIT {name} {unit}"
        yield f"# HELP {name} {told}"
        yield from lines


def _labels(own: Series) -> dict[str, str]:
    return {"test": own.test, "gate": own.gate, "claim": own.question, "model": own.model}


def _written(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

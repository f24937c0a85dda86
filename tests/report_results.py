"""Results with everything that a report can show, for its tests."""

import dataclasses

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.comparisons import Change, Comparison
from pytest_robustness.explained import Explained, Panel, Picture, Side
from pytest_robustness.records import Case, Doubt, Evaluation, Ladder, Matrix, Outcome, Pair, Provenance, Verdict
from pytest_robustness.results import Results
from pytest_robustness.traces import Frame, Trace

PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def everything(name: str) -> Results:
    """Every text of a user's is this one, wherever there is one."""
    outcome = Outcome(name, (name,), name, False, 0.5, 0.25, ((name, 0.5),), (name,), found_by=name)
    right = dataclasses.replace(outcome, correct=True)
    case = Case(name, "epsilon", 2 / 255, name, name)
    stronger = dataclasses.replace(case, strength=4 / 255)
    many = tuple(dataclasses.replace(outcome, image=f"{name}{place}") for place in range(4))
    ladder = Ladder(name, name, "alpha", (0.1, 0.2), ((0.0, right), (0.1, outcome)), library=name)
    pair = Pair(name, name, "b", dataclasses.replace(outcome, predicted="b"))
    matrix = Matrix(case, (name, "b"), ("- 1/2", "0/2 -"), ((name, (name, "b")),), examples=(pair,))
    panel = Panel(name, PNG, PNG, name)
    pictures = tuple(Picture(name, caption, PNG, ((name, 0.5),), (panel,)) for caption in ("clean", name))
    examples = tuple(Picture(name, caption, PNG, ((name, 0.5),)) for caption in ("clean", pair.caption))
    frames = (Frame(0, 0.9, 0.1, 0.0, PNG), Frame(2, 0.4, 0.6, 2 / 255, PNG, PNG))
    side = Side(name, name, 0.5, name, believable=True, picture=panel)
    line = Line(name, ((0.0, 1.0), (0.1, 0.5)), ((0.9, 1.0), (0.4, 0.6)))
    chart = Chart(name, name, name, (line,), (Mark(0.1, name),))
    run = Provenance(name, "", name, "", 1, (name,), name, 0, name, name, ((name, name),), name)
    red = Verdict(
        "holds-until",
        name,
        "fail",
        name,
        measured=0.0,
        required=0.1,
        margin=-0.1,
        n=1,
        ladders=(ladder,),
        pictures=pictures,
        doubts=(Doubt(name, name, name), Doubt(name, name, name, name)),
        checks=(name,),
        traces=(Trace(name, name, "linf", (name,), name, True, "reached", name, frames),),
        explained=(Explained(name, name, name, (side, side), 0.5),),
        charts=(chart,),
        test=f"t.py::test_a[{name}]",
        run=run.key,
        reproduce=name,
    )
    green = Verdict(
        "accuracy",
        f"{name} too",
        "pass",
        name,
        measured=0.5,
        required=0.4,
        margin=0.1,
        n=4,
        interval=(0.068, 0.932),
        evaluations=(Evaluation(case, many), Evaluation(stronger, many)),
        matrices=(matrix,),
        pictures=(*pictures, *examples),
        test=name,
        run=run.key,
    )
    error = Verdict("error", name, "error", name, test=f"t.py::test_b[{name}]", run=run.key, reproduce=name)
    unseen = [
        Verdict("own-rule", name, "fail", name, test=f"t.py::test_c[{name}{place}]", run=run.key, reproduce=name)
        for place in range(2)
    ]
    expected = Verdict("own-rule", name, "fail", name, test="t.py::test_d", run=run.key, expected=True)
    change = Change(name, "accuracy", name, "epsilon", 0.75, 0.5, (name,), (name,) * 9, 4, 0.5, 0.1, True)
    comparison = Comparison(name, name, (change,), (name,), (name,), (name,))
    verdicts = (red, green, error, *unseen, expected)
    return Results(verdicts, (run,), profile=name, comparison=comparison)


def one_for_each_image(n: int) -> Results:
    """A gate of n items, each an image led up ten levels; two of three break, and twenty are pictured."""
    levels = tuple(round(0.025 * place, 3) for place in range(1, 11))
    stress = "Blend('fixtures/overlays/zebra_stripes.png')"
    claim = f"top-1 holds until alpha 0.25 under {stress}"
    # As large as two pictures of 224 pixels.
    png = "data:image/png;base64," + "A" * 60_000
    verdicts = []
    for number in range(n):
        image, own = f"val/class_{number % 100:03}/ILSVRC2012_val_{number:08}.JPEG", f"class_{number % 100:03}"
        others = [f"class_{(number + place) % 100:03}" for place in range(1, 5)]
        breaks, rungs = 1 + number % 15, []
        for place, strength in enumerate((0.0, *levels)):
            correct = place < breaks
            share = 0.98 - 0.05 * place if correct else 0.3
            rest = [(other, (1 - share) / 4) for other in others]
            top = ((own, share), *rest) if correct else ((others[0], 0.5), (own, share), *rest[1:])
            answer = top[0]
            rungs.append((strength, Outcome(image, (own,), answer[0], correct, answer[1], share, tuple(top))))
            if not correct:
                break
        ladder = Ladder(image, stress, "alpha", levels, tuple(rungs))
        broke = ladder.broke is not None
        test = f"tests/test_release.py::test_top1_holds_under_zebra[{image}]"
        verdicts.append(
            Verdict(
                "holds-until",
                claim,
                "fail" if broke else "pass",
                f"{image} holds until alpha {ladder.held} and breaks at {ladder.broke}: {rungs[-1][1].answer}\nrequired: alpha 0.25",
                measured=ladder.held,
                required=0.25,
                margin=(ladder.held or 0.0) - 0.25,
                n=1,
                ladders=(ladder,),
                pictures=tuple(Picture(image, caption, png, rungs[-1][1].top) for caption in ("clean", "alpha 0.25"))
                if broke and number < 30
                else (),
                test=test,
                reproduce=f"pytest '{test}'" if broke else "",
            )
        )
    return Results(tuple(verdicts))

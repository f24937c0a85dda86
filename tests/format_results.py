"""Results that every format is asked for: two models, items, errors, a failure that was expected, and hostile names."""

from dataclasses import replace

from pytest_robustness.records import Case, Evaluation, Outcome, Provenance, Verdict
from pytest_robustness.results import Results

RUN = Provenance(
    model="Net",
    model_digest="ab" * 32,
    images="tests/images",
    images_digest="cd" * 32,
    n=4,
    classes=("cat", "dog"),
    device="cpu",
    seed=7,
    precision="float32",
    execution="as given",
    versions=(("pytest-robustness", "0.1.0"), ("torch", "2.5.0+cpu")),
)
OTHER = replace(RUN, model_digest="ef" * 32)
HOSTILE = 'a"b\\c\n<img src=x onerror=alert(1)> | `x` *y* [z](w) # {u} %/../日本'


def evaluation(case: Case, right: int, of: int = 4) -> Evaluation:
    outcomes = (
        Outcome(f"{i}.png", ("cat",), "cat" if i < right else "dog", i < right, 0.9, 0.9, (("cat", 0.9),))
        for i in range(of)
    )
    return Evaluation(case, tuple(outcomes))


FGSM = Case("FGSM()", "epsilon", 2 / 255)


def accuracy(
    test: str, status: str = "pass", *, run: Provenance = RUN, at_least: float = 0.4, right: int = 2
) -> Verdict:
    return Verdict(
        "accuracy",
        f"accuracy under FGSM() at epsilon 2/255 >= {at_least:g}",
        status,  # type: ignore[arg-type]
        f"accuracy {right / 4}",
        measured=right / 4,
        required=at_least,
        margin=right / 4 - at_least,
        n=4,
        interval=(0.1, 0.9),
        evaluations=(evaluation(FGSM, right),),
        test=f"tests/test_it.py::{test}",
        run=run.key,
        reproduce=f"pytest tests/test_it.py::{test}",
    )


def item(image: str, margin: float) -> Verdict:
    return Verdict(
        "holds-until",
        "top-1 holds until alpha 0.3 under Blend('zebra.png')",
        "fail" if margin < 0 else "pass",
        f"{image} holds until alpha {0.3 + margin:g}",
        measured=0.3 + margin,
        required=0.3,
        margin=margin,
        n=1,
        test=f"tests/test_it.py::test_zebra[{image}]",
        run=RUN.key,
        reproduce=f"pytest 'tests/test_it.py::test_zebra[{image}]'",
    )


ERROR = Verdict("error", "test_bad", "error", "no such file", test="tests/test_it.py::test_bad", run="")
KNOWN = replace(accuracy("test_known", "fail", at_least=0.6), expected=True)

RESULTS = Results((ERROR, accuracy("test_fgsm"), KNOWN, item("a", 0.0), item("b", -0.1)), (RUN,))
TWO_MODELS = Results((accuracy("test_fgsm"), accuracy("test_fgsm", run=OTHER, right=1)), (RUN, OTHER))
STRANGE = Results(
    (
        replace(
            accuracy("test_fgsm"),
            test=f"tests/../{HOSTILE}::test[{HOSTILE}]",
            claim=f"accuracy under {HOSTILE} >= 0.4",
            evaluations=(evaluation(Case(HOSTILE, HOSTILE, 0.1, HOSTILE), 1),),
            run=replace(RUN, model=HOSTILE, images=HOSTILE).key,
        ),
    ),
    (replace(RUN, model=HOSTILE, images=HOSTILE),),
)

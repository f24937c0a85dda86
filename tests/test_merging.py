"""Shards joined: what belongs together gives the results of one run, and what does not is refused by name."""

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.doubts import consequences
from pytest_robustness.errors import InputError
from pytest_robustness.matrices import TargetedMatrix
from pytest_robustness.merging import Part, merged
from pytest_robustness.rate_gates import RateAtMost
from pytest_robustness.records import Case, Doubt, Matrix, Outcome, Pair, Picture, Provenance, Status, Verdict
from pytest_robustness.remedies import remedy
from pytest_robustness.results import Results
from pytest_robustness.shards import Shard

RUN = Provenance(
    model="Net",
    model_digest="ab" * 32,
    images="images",
    images_digest="cd" * 32,
    n=6,
    classes=("cat", "dog"),
    device="cpu",
    seed=0,
    precision="float32",
    execution="as given",
    versions=(("pytest-robustness", "0.1.0"), ("python", "3.11.7"), ("torch", "2.5.0")),
)


def verdict(test: str, status: Status = "pass", run: Provenance = RUN, **fields: Any) -> Verdict:
    given = {
        "gate": "accuracy",
        "claim": "accuracy on clean images >= 0.5",
        "reason": "because",
        "n": 6,
        "measured": 0.75,
    }
    return Verdict(**{**given, "status": status, "test": test, "run": run.key, **fields})


def part(number: int, of: int, *verdicts: Verdict, file: str = "", items: str = "tests", **fields: Any) -> Part:
    results = Results(verdicts, (RUN,), **{"shard": Shard(number, of, items), **fields})
    return Part(file or f"shard-{number}.json", results)


def refusal(*parts: Part, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        merged(parts, **settings)
    return str(error.value)


def test_verdicts_of_all_shards_come_in_the_order_of_their_node_ids_and_those_of_a_test_as_it_judged_them() -> None:
    first, second, third = verdict("t.py::b", claim="one"), verdict("t.py::b", claim="another"), verdict("t.py::a")
    for order in itertools.permutations([part(1, 3, first, second), part(2, 3), part(3, 3, third)]):
        assert merged(order) == Results((third, first, second), (RUN,))


def test_a_whole_of_one_shard_is_that_shard() -> None:
    assert merged([part(1, 1, verdict("t.py::a"))]) == Results((verdict("t.py::a"),), (RUN,))


def test_shards_without_a_gate_are_shards() -> None:
    empty = Results((), (), shard=Shard(2, 2, "tests"))
    assert merged([part(1, 2, verdict("t.py::a")), Part("empty.json", empty)]).verdicts == (verdict("t.py::a"),)


def test_of_all_pictures_those_of_the_first_tests_by_node_id_stay_as_in_one_run() -> None:
    def failed(test: str, images: int) -> Verdict:
        views = tuple(
            Picture("a.png", caption, "data:", ()) for _ in range(images) for caption in ("clean", "stressed")
        )
        return verdict(test, "fail", pictures=views)

    one = part(1, 2, *(failed(f"t.py::test_{name}", 5) for name in "ace"))
    other = part(2, 2, *(failed(f"t.py::test_{name}", 4) for name in "bdf"), failed("t.py::test_z", 5))
    shown = {v.test[-1]: len(v.pictures) // 2 for v in merged([one, other]).verdicts}
    assert shown == {"a": 5, "b": 4, "c": 5, "d": 4, "e": 2, "f": 0, "z": 0}


def test_missing_shards_are_named() -> None:
    parts = [part(number, 8) for number in (1, 2, 4, 5, 6, 8)]
    assert refusal(*parts) == (
        "expected shards 1 to 8 of 8, missing 3 and 7; add their files, or merge what there is with --partial"
    )
    assert refusal(*parts[1:], part(7, 8), part(3, 8)) == (
        "expected shards 1 to 8 of 8, missing 1; add their files, or merge what there is with --partial"
    )
    assert "missing 1, 2, 3, 5, 6, 7 and 8;" in refusal(part(4, 8))
    assert refusal() == "expected the results of shards, got none; name their files"


def test_shards_that_stopped_early_are_named() -> None:
    parts = [part(1, 3, complete=False), part(2, 3), part(3, 3, complete=False)]
    assert refusal(*parts) == (
        "expected shards that ran to their end, got shard-1.json (shard 1/3), shard-3.json (shard 3/3), which stopped early; run "
        "again what stopped, it goes on where it was, or merge what there is with --partial"
    )


def test_what_there_is_is_never_complete() -> None:
    found = merged([part(3, 3, complete=False), part(2, 3, verdict("t.py::a"))], partial=True)
    assert found == Results((verdict("t.py::a"),), (RUN,), complete=False)


def test_the_same_shard_twice_is_refused() -> None:
    assert refusal(part(1, 2), part(2, 2), part(2, 2, file="again.json")) == (
        "expected every shard once, got again.json (shard 2/2) and shard-2.json (shard 2/2); leave one of them out"
    )


def test_shards_of_other_numbers_are_refused() -> None:
    assert refusal(part(1, 2), part(2, 3)) == (
        "expected shards of one run, got shard-1.json (shard 1/2) and shard-2.json (shard 2/3); run all of them with the same N in "
        "--robustness-shard=I/N"
    )


def test_shards_of_other_profiles_are_refused_and_those_of_one_have_it_together() -> None:
    assert refusal(part(1, 2, profile="ci"), part(2, 2, profile="dev")) == (
        "expected shards of one profile, got ci in shard-1.json (shard 1/2) and dev in shard-2.json (shard 2/2); run all of them with "
        "the same --robustness-profile"
    )
    assert merged([part(1, 2, profile="release"), part(2, 2, profile="release")]).profile == "release"


def test_shards_of_other_tests_are_refused() -> None:
    assert refusal(part(1, 2), part(2, 2, items="others")) == (
        "expected shards of the same tests, got others in shard-2.json (shard 2/2) than in shard-1.json (shard 1/2); run all of "
        "them on the same files with the same selection"
    )
    assert merged([part(1, 2), part(2, 2, items="", complete=False)], partial=True).verdicts == ()


def test_a_test_on_two_shards_is_refused() -> None:
    twice = [part(number, 2, verdict("t.py::a"), verdict("t.py::b")) for number in (1, 2)]
    assert refusal(*twice) == (
        "expected every test on one shard, got 2 on several, first t.py::a in shard-1.json (shard 1/2) and shard-2.json (shard 2/2); "
        "run all shards with this version"
    )


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"model": "Other"}, "model Net in {} and Other in {}"),
        ({"model_digest": "ef" * 32}, "model digest abababababab in {} and efefefefefef in {}"),
        ({"images_digest": "ef" * 32}, "images digest cdcdcdcdcdcd in {} and efefefefefef in {}"),
        ({"n": 7}, "n 6 in {} and 7 in {}"),
        ({"classes": ("cat", "cow")}, "classes dog in {} and cow in {}"),
        ({"classes": ("cat",)}, "classes dog in {} and nothing in {}"),
        ({"seed": 1}, "seed 0 in {} and 1 in {}"),
    ],
)
def test_shards_that_measured_something_else_are_refused(changed: dict[str, Any], difference: str) -> None:
    other = dataclasses.replace(RUN, **changed)
    parts = part(1, 2, verdict("t.py::a")), part(2, 2, verdict("t.py::b", run=other))
    parts = parts[0], Part("b.json", dataclasses.replace(parts[1].results, runs=(other,)))
    told = difference.format("shard-1.json (shard 1/2)", "b.json (shard 2/2)")
    assert refusal(*parts) == (
        f"expected shards that were measured on the same, got {told}; run all shards on the same model and images with the "
        "same seed, or, where the tests measure several, say how many with --runs=2"
    )
    assert len(merged(parts, runs=2).runs) == 2


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"precision": "bfloat16"}, "precision float32 in {} and bfloat16 in {}"),
        (
            {"versions": (("pytest-robustness", "0.1.0"), ("python", "3.11.7"), ("torch", "2.6.0"))},
            "versions torch 2.5.0 in {} and torch 2.6.0 in {}",
        ),
    ],
)
def test_shards_that_ran_in_another_way_are_refused_whatever_the_tests_measure(
    changed: dict[str, Any], difference: str
) -> None:
    other = dataclasses.replace(RUN, **changed)
    theirs = Part("b.json", Results((), (other,), shard=Shard(2, 2, "tests")))
    told = difference.format("shard-1.json (shard 1/2)", "b.json (shard 2/2)")
    assert refusal(part(1, 2), theirs, runs=2) == (
        f"expected shards that ran alike, got {told}; run all of them with the same versions and settings"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"device": "NVIDIA L4"},
        {"images": "/another/checkout/images"},
        {"execution": "3 batch norms folded, channels_last"},
        {"versions": (("pytest-robustness", "0.1.0"), ("python", "3.11.7"), ("torch", "2.5.0+cu121"))},
    ],
)
def test_shards_may_run_on_different_machines_each_with_a_torch_built_for_it(changed: dict[str, Any]) -> None:
    other = dataclasses.replace(RUN, **changed)
    theirs = Results((verdict("t.py::b", run=other),), (other,), shard=Shard(2, 2, "tests"))
    found = merged([part(1, 2, verdict("t.py::a")), Part("b.json", theirs)])
    assert [v.run for v in found.verdicts] == [RUN.key, other.key]
    assert found.runs == tuple(sorted((RUN, other), key=lambda run: run.key))


def test_tests_may_measure_several_models_where_one_shard_has_met_both_or_where_their_number_is_told() -> None:
    hardened = dataclasses.replace(RUN, model_digest="ef" * 32)
    both = Part("a.json", Results((), (RUN, hardened), shard=Shard(1, 3, "tests")))
    one = Part("b.json", Results((), (RUN,), shard=Shard(2, 3, "tests")))
    other = Part("c.json", Results((), (hardened,), shard=Shard(3, 3, "tests")))
    assert len(merged([both, one, other]).runs) == 2
    assert len(merged([one, other], partial=True, runs=2).runs) == 2
    assert refusal(both, one, other, runs=1) == (
        "expected 1 different models, image sets or seeds in all shards together, got 2:"
        "\nNet abababababab on 6 images of images, seed 0: a.json (shard 1/3), b.json (shard 2/3)"
        "\nNet efefefefefef on 6 images of images, seed 0: a.json (shard 1/3), c.json (shard 3/3)"
    )
    retrained = dataclasses.replace(RUN, model_digest="01" * 32)
    late = Part("c.json", Results((), (retrained, hardened), shard=Shard(3, 3, "tests")))
    assert "model digest abababababab in a.json (shard 1/3) and 010101010101 in c.json (shard 3/3)" in refusal(
        both, one, late
    )


# Of the two classes each is the target of the other: 3 of 9 and 1 of 4.
CELLS = ("- 3/9", "1/4 -")
SHARES = (("- 1/5", "1/1 -"), ("- 2/4", "0/3 -"))


def matrix(cells: tuple[str, ...]) -> Matrix:
    return Matrix(Case("PGD()", "epsilon", 2 / 255), ("cat", "dog"), cells, planned=13)


def rate(
    cells: tuple[str, ...], shard: str = "", at_most: float = 0.5, test: str = "t.py::pairs", **fields: Any
) -> Verdict:
    found = RateAtMost("modify", at_most, "median").judge(TargetedMatrix(matrix(cells)), part=shard)
    if found.status == "fail":
        found = dataclasses.replace(found, reason=f"{found.reason}\n{remedy(found, under='attack')}")
    return dataclasses.replace(found, test=test, run=RUN.key, **fields)


def shares(**settings: Any) -> list[Part]:
    return [part(n, 2, rate(cells, f"shard {n} of 2", **settings)) for n, cells in enumerate(SHARES, start=1)]


@pytest.mark.parametrize(("at_most", "status"), [(0.3, "pass"), (0.29, "fail")])
@pytest.mark.parametrize("xfail", [False, True])
def test_a_gate_over_pairs_is_judged_with_those_of_all_shards(at_most: float, status: str, xfail: bool) -> None:
    """The medians of the shards alone are 0.6 and 0.25, and that of all pairs 7/24 = 0.2917."""
    (found,) = merged(shares(at_most=at_most, expected=xfail)).verdicts
    assert found == rate(CELLS, at_most=at_most, expected=xfail and status == "fail")
    assert (found.status, found.measured) == (status, pytest.approx(7 / 24))


@pytest.mark.parametrize("waiver", ["", "on purpose"])
def test_a_pass_in_doubt_is_untrusted_when_it_is_merged_too(waiver: str) -> None:
    doubts = [Doubt("gradients", "zero at 3 of 8 images", "use Square()", waiver)]

    def doubted(verdict: Verdict) -> Verdict:
        return dataclasses.replace(verdict, **consequences(verdict, ["gradients"], doubts))

    parts = [part(n, 2, doubted(rate(cells, f"shard {n} of 2"))) for n, cells in enumerate(SHARES, start=1)]
    assert all(v.status == "undecided" for own in parts for v in own.results.verdicts)
    assert merged(parts).verdicts == (doubted(rate(CELLS)),)
    assert bool(merged(parts).failed) == (not waiver)


def test_gates_behind_one_that_fails_are_left_out_as_the_test_would_have_ended_there() -> None:
    parts = [
        part(n, 2, *(rate(cells, f"shard {n} of 2", at_most) for at_most in (0.5, 0.1, 0.6)))
        for n, cells in enumerate(SHARES, start=1)
    ]
    assert merged(parts).verdicts == (rate(CELLS, at_most=0.5), rate(CELLS, at_most=0.1))


def test_pictures_of_pairs_are_those_of_the_examples_of_the_whole_that_a_shard_has_made() -> None:
    def fallen(image: str, target: str, confidence: float) -> Pair:
        outcome = Outcome(image, ("cat",), target, False, confidence, 0.0, ((target, confidence),))
        return Pair(image, "cat" if target == "dog" else "dog", target, outcome)

    def views(*pairs: Pair) -> tuple[Picture, ...]:
        return tuple(Picture(p.image, caption, "data:", ()) for p in pairs for caption in ("clean", p.caption))

    weak, sure, back = fallen("a.png", "dog", 0.6), fallen("b.png", "dog", 0.9), fallen("c.png", "cat", 0.7)
    parts = []
    for number, (cells, pairs, pictured) in enumerate(
        zip(SHARES, ((weak, back), (sure,)), ((weak,), (sure,)), strict=True), start=1
    ):
        own = rate(cells, f"shard {number} of 2")
        record = dataclasses.replace(own.matrices[0], examples=pairs)
        parts.append(part(number, 2, dataclasses.replace(own, matrices=(record,), pictures=views(*pictured))))
    (found,) = merged(parts).verdicts
    assert found.matrices[0].examples == (sure, back)
    assert found.pictures == views(sure)


def test_a_gate_over_pairs_of_which_some_are_missing_stays_undecided() -> None:
    one, other, empty = (
        Part(f"{number}.json", Results((verdict,) if verdict else (), (RUN,), shard=Shard(number, 3, "tests")))
        for number, verdict in enumerate([*(rate(cells, "part", expected=True) for cells in SHARES), None], start=1)
    )
    # On the third shard the test was skipped.
    for settings in ({}, {"partial": True}):
        (found,) = merged([one, other, empty], **settings).verdicts
        assert found == dataclasses.replace(rate(CELLS, "shards 1 and 2 of 3"), expected=False)
        assert found.reason.startswith(
            "shards 1 and 2 of 3: 13 of 13 planned pairs, judged when all shards are merged\n"
        )
    (found,) = merged([one], partial=True).verdicts
    assert found.reason.startswith("shard 1 of 3: 6 of 13 planned pairs, ")
    assert merged([one, other, empty]).failed


def test_a_gate_over_pairs_that_failed_with_an_error_on_a_shard_is_that_error() -> None:
    error = verdict("t.py::pairs", "error", gate="error", reason="out of order")
    one, other = shares()
    ended = dataclasses.replace(other.results, verdicts=(*other.results.verdicts, error))
    assert merged([one, Part("b.json", ended)]).verdicts == (error,)
    assert merged([part(1, 2, error), part(2, 2, error)]).verdicts == (error,)
    rule = verdict("t.py::pairs", "fail", gate="own-rule", reason="assert 1 <= 0")
    assert merged([part(1, 2, rule), part(2, 2, error)]).verdicts == (rule, error)


def test_a_gate_that_nothing_was_tried_for_on_any_shard_is_an_error_as_in_one_run() -> None:
    nothing = ("-*2", "-*2")
    parts = [part(n, 2, rate(nothing, f"shard {n} of 2", test="t.py::TestIt::test_a[b::c]")) for n in (1, 2)]
    (found,) = merged(parts).verdicts
    assert found == Verdict(
        gate="error",
        claim="test_a[b::c]",
        status="error",
        reason="expected at least one image that is right when clean, to go towards another class, got none; a median of nothing "
        "is no number",
        test="t.py::TestIt::test_a[b::c]",
        run=RUN.key,
    )


def test_shards_with_other_gates_in_a_test_are_refused() -> None:
    one, other = shares()[0], shares(at_most=0.4)[1]
    assert refusal(one, other) == (
        "t.py::pairs: expected the same gates on every shard, got others on shard 2 than on shard 1; run all of them on the same files"
    )


def test_matrices_of_different_pairs_are_refused_with_the_name_of_the_test() -> None:
    one, other = shares()
    (own,) = other.results.verdicts
    changed = dataclasses.replace(own, matrices=(dataclasses.replace(own.matrices[0], planned=14),))
    assert refusal(one, part(2, 2, changed)) == (
        "t.py::pairs: expected matrices of one run to merge, got ones whose planned differ: 13 and 14; run every shard with the same "
        "tests and images"
    )


def test_a_matrix_that_was_measured_only_is_added_up_all_the_same() -> None:
    rules = [
        verdict("t.py::pairs", "undecided", gate="own-rule", claim="the rule", matrices=(matrix(cells),))
        for cells in SHARES
    ]
    (found,) = merged([part(n, 2, rule) for n, rule in enumerate(rules, start=1)]).verdicts
    assert (found.status, found.matrices) == ("undecided", (matrix(CELLS),))


def test_a_rule_of_a_tests_own_over_pairs_stays_undecided() -> None:
    rule = verdict("t.py::pairs", "undecided", gate="own-rule", claim="the rule of pairs", reason="shard 1 of 2: part")
    (found,) = merged([part(1, 2, rule), part(2, 2, dataclasses.replace(rule, reason="shard 2 of 2: part"))]).verdicts
    assert found == rule
    assert merged([part(1, 1, rule)]).failed == (rule,)


def write(folder: Path, *parts: Part) -> list[str]:
    for own in parts:
        (folder / own.file).write_text(own.results.to_json(), encoding="utf-8")
    return [str(folder / own.file) for own in parts]


def test_a_file_that_is_none_of_a_shard_is_refused_by_name(tmp_path: Path) -> None:
    whole, other, gone = (tmp_path / name for name in ("whole.json", "other.json", "gone.json"))
    whole.write_text(Results((verdict("t.py::a"),), (RUN,)).to_json(), encoding="utf-8")
    other.write_bytes(b'{"schema": "pytest-robustness/0"}')
    told = []
    for path in (whole, other, gone):
        with pytest.raises(InputError) as error:
            Part.read(path)
        told.append(str(error.value))
    assert told == [
        f"{whole}: expected the results of a shard, got those of a whole run; write them with --robustness-shard=I/N",
        f"{other}: expected results of schema 'pytest-robustness/2', got 'pytest-robustness/0'; write them anew with this version",
        f"{gone}: expected the results of a shard, got no file (No such file or directory)",
    ]


@pytest.mark.parametrize("shard", [{"number": 3, "of": 2, "items": ""}, {"number": 1}, 7])
def test_a_shard_that_is_none_is_refused(tmp_path: Path, shard: object) -> None:
    document = json.loads(part(1, 2).results.to_json()) | {"shard": shard}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.json: expected results as this version writes them, got others"):
        Part.read(path)


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [("pass", False, 0), ("fail", False, 1), ("fail", True, 0), ("error", False, 1), ("untrusted", False, 1)],
)
def test_the_exit_status_is_that_of_pytest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: Status, expected: bool, code: int
) -> None:
    files = write(tmp_path, part(1, 2, verdict("t.py::a")), part(2, 2, verdict("t.py::b", status, expected=expected)))
    assert main(["merge", *files]) == code
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "Net abababab on 6 images of images, cpu, seed 0"
    assert err == ""


def test_what_is_refused_is_told_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write(tmp_path, part(1, 2, verdict("t.py::a")))
    assert main(["merge", *files, "-o", str(tmp_path / "whole.json")]) == 2
    assert capsys.readouterr() == (
        "",
        "expected shards 1 to 2 of 2, missing 2; add their files, or merge what there is with --partial\n",
    )
    assert not (tmp_path / "whole.json").exists()


def test_a_part_of_the_shards_is_never_green(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write(tmp_path, part(1, 2, verdict("t.py::a")))
    assert main(["merge", *files, "--partial"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 gate passed; the session did not finish, these are the results so far"
    )


def test_no_gate_at_all_is_no_pass(tmp_path: Path) -> None:
    assert main(["merge", *write(tmp_path, part(1, 1))]) == 5


def test_a_file_that_can_not_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write(tmp_path, part(1, 1, verdict("t.py::a")))
    assert main(["merge", *files, "-o", f"{files[0]}/whole.json"]) == 3
    assert capsys.readouterr().err == f"could not write {files[0]}: File exists\n"


def test_the_command_prints_the_table_and_writes_both_files_without_torch(tmp_path: Path) -> None:
    names = [
        Path(name).name for name in write(tmp_path, part(1, 2, verdict("t.py::a")), part(2, 2, verdict("t.py::b")))
    ]
    script = (
        "import runpy, sys\n"
        "sys.argv[0] = 'pytest_robustness'\n"
        "try:\n    runpy.run_module('pytest_robustness', run_name='__main__')\n"
        "finally:\n    assert not {'torch', 'pytest'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "merge", *names, "-o", "r/whole.json", "--report", "r/whole.html"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-3:] == ["2 gates passed", "results: r/whole.json", "report: r/whole.html"]
    whole = Results.from_json((tmp_path / "r" / "whole.json").read_text(encoding="utf-8"))
    assert whole == Results((verdict("t.py::a"), verdict("t.py::b")), (RUN,))
    assert "Pass: 2 gates passed" in (tmp_path / "r" / "whole.html").read_text(encoding="utf-8")


def test_the_command_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["merge", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    told = capsys.readouterr().out
    assert all(option in told for option in ("--output", "--report", "--partial", "--runs"))
    with pytest.raises(SystemExit) as end:
        main(["merge"])
    assert end.value.code == 2

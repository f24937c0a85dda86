"""Tables of votes: their shares by hand, and the lines that they are printed in."""

from collections import Counter

import pytest

from pytest_robustness.defenses import SmoothingVote
from pytest_robustness.records import Case, Evaluation, Outcome
from pytest_robustness.stats import proportion_interval
from pytest_robustness.vote_tables import Share, VoteRow, VoteTable, VoteTables, accepted, right_by

VOTERS = ("none", "single", "double")


def voted(image: str, *votes: str, classes: tuple[str, ...] = ("cat",)) -> Outcome:
    """What a vote makes of an image: more than half decide."""
    shares = [(name, count / len(votes)) for name, count in Counter(votes).most_common()]
    winner, share = shares[0]
    predicted = winner if share > 0.5 else None
    return Outcome(image, classes, predicted, predicted in classes, share, 0.0, tuple(shares), votes)


def evaluation(strength: float, *votes: str, stress: str = "GaussianNoise()", unit: str = "sigma") -> Evaluation:
    """Images of cats, with what the voters say of each: `cat dog dog`."""
    case = Case(stress, unit, strength, "SmoothingVote()")
    return Evaluation(case, tuple(voted(f"{place}.png", *own.split()) for place, own in enumerate(votes)))


WEAK = evaluation(0.1, *["cat cat cat"] * 6, "dog cat cat", "cat cat dog", "cat dog dog", "cat dog cow")
STRONG = evaluation(0.25, *["cat cat cat"] * 2, "dog cat cat", *["dog dog dog"] * 2, *["cow dog cat"] * 5)
NONE = evaluation(1.0, *["cow dog cat"] * 4, *["cat dog cow"] * 6)
TABLE = VoteTable(VOTERS, (WEAK, STRONG))


def test_each_voter_alone_is_right_where_it_says_an_accepted_class() -> None:
    assert right_by(voted("a.png", "cat", "dog", "lynx", classes=("cat", "lynx"))) == (True, False, True)
    assert VoteRow(VOTERS, WEAK).alone == {"none": (9, 10), "single": (8, 10), "double": (7, 10)}
    assert VoteRow(VOTERS, STRONG).alone == {"none": (2, 10), "single": (3, 10), "double": (8, 10)}


def test_the_majority_is_of_the_accepted_images_and_of_all_a_reject_is_wrong() -> None:
    weak = VoteRow(VOTERS, WEAK)
    assert (weak.majority, weak.overall, weak.coverage, weak.rejected) == ((8, 9), (8, 10), (9, 10), (1, 10))
    strong = VoteRow(VOTERS, STRONG)
    assert (strong.majority, strong.overall, strong.coverage, strong.rejected) == ((3, 5), (3, 10), (5, 10), (5, 10))
    assert accepted(STRONG.outcomes) == 5
    for row in (weak, strong):
        assert row.overall.value == pytest.approx(row.majority.value * row.coverage.value)
        assert row.coverage.k + row.rejected.k == 10


def test_a_vote_that_accepts_nothing_is_right_on_none_and_may_be_right_on_any() -> None:
    row = VoteRow(VOTERS, NONE)
    assert (row.majority, row.overall, row.coverage, row.rejected) == ((0, 0), (0, 10), (0, 10), (10, 10))
    assert (row.majority.value, row.majority.interval) == (0.0, (0.0, 1.0))


@pytest.mark.parametrize(("k", "n"), [(0, 1), (3, 10), (10, 10), (121, 300)])
def test_the_interval_of_a_share_is_the_exact_one_at_95_percent(k: int, n: int) -> None:
    assert Share(k, n).interval == proportion_interval(k, n, confidence=0.95)
    assert Share(k, n).value == k / n


def test_a_row_has_its_strength_and_its_columns_in_the_order_of_the_table() -> None:
    row = VoteRow(VOTERS, STRONG)
    assert row.strength == 0.25
    assert list(row.columns.items()) == [
        ("none", (2, 10)),
        ("single", (3, 10)),
        ("double", (8, 10)),
        ("majority", (3, 5)),
        ("of all", (3, 10)),
        ("coverage", (5, 10)),
        ("rejected", (5, 10)),
    ]


def test_a_table_has_a_row_for_each_strength() -> None:
    assert len(TABLE) == 2
    assert list(TABLE) == [VoteRow(VOTERS, WEAK), VoteRow(VOTERS, STRONG)]


def test_a_table_is_printed_with_its_intervals_in_80_columns() -> None:
    printed = str(VoteTable(VOTERS, (WEAK, STRONG, NONE)))
    assert printed == (
        "GaussianNoise() behind SmoothingVote(), 10 images\n"
        "sigma         none    single    double  majority    of all  coverage  rejected\n"
        "0.1          0.900     0.800     0.700     0.889     0.800     0.900     0.100\n"
        "          .55-1.00   .44-.97   .35-.93  .52-1.00   .44-.97  .55-1.00   .00-.45\n"
        "0.25         0.200     0.300     0.800     0.600     0.300     0.500     0.500\n"
        "           .03-.56   .07-.65   .44-.97   .15-.95   .07-.65   .19-.81   .19-.81\n"
        "1            0.600     0.000     0.400     0.000     0.000     0.000     1.000\n"
        "           .26-.88   .00-.31   .12-.74      none   .00-.31   .00-.31  .69-1.00"
    )
    assert max(map(len, printed.splitlines())) == 78


def test_a_table_with_the_longest_head_strength_and_interval_stays_apart_in_80_columns() -> None:
    """A severity, which is as wide as the first column, and shares near 1, whose intervals are as wide as theirs."""
    sure = evaluation(0.1234, *["cat cat cat"] * 1000, stress="Fog()", unit="severity")
    lines = str(VoteTable(VOTERS, (sure,))).splitlines()
    assert lines == [
        "Fog() behind SmoothingVote(), 1000 images",
        "severity      none    single    double  majority    of all  coverage  rejected",
        "0.1234       1.000     1.000     1.000     1.000     1.000     1.000     0.000",
        "         1.00-1.00 1.00-1.00 1.00-1.00 1.00-1.00 1.00-1.00 1.00-1.00   .00-.00",
    ]
    assert max(map(len, lines)) <= 80


def test_an_epsilon_is_printed_as_people_write_it() -> None:
    attacked = evaluation(2 / 255, "cat cat cat", stress="PGD()", unit="epsilon")
    assert [line[:8] for line in str(VoteTable(VOTERS, (attacked,))).splitlines()[1:]] == [
        "epsilon ",
        "2/255   ",
        "        ",
    ]


def test_the_column_of_a_filter_with_a_long_name_is_wider() -> None:
    names = ("nine_long", "a_denoiser", "denoiser_of_ours")
    assert str(VoteTable(names, (WEAK,))) == (
        "GaussianNoise() behind SmoothingVote(), 10 images\n"
        "sigma     nine_long  a_denoiser  denoiser_of_ours  majority    of all  coverage  rejected\n"
        "0.1           0.900       0.800             0.700     0.889     0.800     0.900     0.100\n"
        "           .55-1.00     .44-.97           .35-.93  .52-1.00   .44-.97  .55-1.00   .00-.45"
    )
    assert list(VoteRow(names, WEAK).columns)[:3] == list(names)


def test_a_table_is_one_sentence_about_its_largest_strength() -> None:
    assert repr(TABLE) == (
        "GaussianNoise() behind SmoothingVote(), 10 images: at sigma 0.25, "
        "0.600 of the accepted are right, 0.300 of all are right, 0.500 are rejected"
    )


def test_a_table_of_a_vote_that_accepts_nothing_says_nothing_about_the_accepted() -> None:
    assert repr(VoteTable(VOTERS, (WEAK, NONE))) == (
        "GaussianNoise() behind SmoothingVote(), 10 images: at sigma 1, 0.000 of all are right, 1.000 are rejected"
    )


def test_every_line_about_a_smoothing_vote_is_at_most_80_columns_wide_with_the_note() -> None:
    sure = evaluation(0.1234, *["cat cat cat"] * 1000, stress="Fog()", unit="severity")
    before = evaluation(0.1, "cat cat cat", stress="BeforeResize(GaussianNoise())")
    voters = SmoothingVote().voters
    assert voters == VOTERS
    lines = str(VoteTables(tuple(VoteTable(voters, (own, NONE)) for own in (WEAK, sure, before)))).splitlines()
    assert len(lines) == 3 * 6 + 2 + 1
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[-1] == "majority: right of the accepted images; of all: a rejected one is wrong"


def test_the_tables_of_two_paths_are_printed_one_below_the_other() -> None:
    before = VoteTable(VOTERS, (evaluation(0.1, "cat cat cat", stress="BeforeResize(GaussianNoise())"),))
    tables = VoteTables((TABLE, before))
    note = "majority: right of the accepted images; of all: a rejected one is wrong"
    assert (len(tables), list(tables), tables[1]) == (2, [TABLE, before], before)
    assert str(tables) == f"{TABLE}\n\n{before}\n{note}"
    assert repr(tables) == f"{TABLE!r}; {before!r}"
    assert str(VoteTables((TABLE,))) == f"{TABLE}\n{note}"
    assert str(before) == (
        "BeforeResize(GaussianNoise()) behind SmoothingVote(), 1 image\n"
        "sigma         none    single    double  majority    of all  coverage  rejected\n"
        "0.1          1.000     1.000     1.000     1.000     1.000     1.000     0.000\n"
        "          .03-1.00  .03-1.00  .03-1.00  .03-1.00  .03-1.00  .03-1.00   .00-.97"
    )

"""mCE and relative mCE by hand, and by the published results of twelve models where those lie beside the checkout."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_robustness.corruption_error import (
    ALEXNET,
    ALEXNET_CLEAN,
    CATEGORIES,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from pytest_robustness.corruptions.table import COMMON, EXTRA
from pytest_robustness.errors import InputError

# Two corruptions, of which the classifier that counts as 1 fails 0.5 and 0.8, and 0.2 when clean.
NORMALIZER = {"fog": 0.5, "snow": 0.8}
ERRORS = {"fog": [0.1, 0.2, 0.2, 0.2, 0.3], "snow": [0.2, 0.3, 0.4, 0.5, 0.6]}


def test_a_corruption_error_is_the_sum_over_severities_in_units_of_the_normalizers() -> None:
    """0.2 / 0.5 and 0.4 / 0.8, the mean of which is 0.45."""
    assert mean_corruption_error(ERRORS, normalizer=NORMALIZER) == pytest.approx(0.45)


def test_the_relative_error_takes_the_clean_errors_away_first() -> None:
    """(0.2 - 0.1) / (0.5 - 0.2) and (0.4 - 0.1) / (0.8 - 0.2), the mean of which is 5 / 12."""
    relative = relative_mean_corruption_error(ERRORS, 0.1, normalizer=NORMALIZER, clean_normalizer=0.2)
    assert relative == pytest.approx(5 / 12)


def test_alexnet_counts_as_1() -> None:
    errors = {name: [mean - 0.02, mean - 0.01, mean, mean + 0.01, mean + 0.02] for name, mean in ALEXNET.items()}
    assert mean_corruption_error(errors) == pytest.approx(1)
    assert relative_mean_corruption_error(errors, ALEXNET_CLEAN) == pytest.approx(1)


def test_a_perfect_classifier_has_no_error() -> None:
    errors = {name: [0.0] * 5 for name in ALEXNET}
    assert mean_corruption_error(errors) == 0
    assert relative_mean_corruption_error(errors, 0.0) == 0


def test_what_does_not_get_worse_has_no_relative_error() -> None:
    assert relative_mean_corruption_error({name: [0.3] * 5 for name in ALEXNET}, 0.3) == pytest.approx(0)


def test_the_fifteen_are_those_of_the_corruptions_in_their_order() -> None:
    from pytest_robustness.corruptions import COMMON

    assert tuple(ALEXNET) == COMMON


def test_alexnets_errors_cannot_be_written_to() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        ALEXNET["fog"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            {"fog": ERRORS["fog"]},
            "expected errors under 2 corruptions, got none under snow; evaluate it at severities 1 to 5",
        ),
        (
            {},
            "expected errors under 2 corruptions, got none under fog, snow; evaluate it at severities 1 to 5",
        ),
        (
            {**ERRORS, "spatter": [0.1] * 5},
            "expected errors under the 2 corruptions of the normalizer, got spatter as well; leave it out",
        ),
        (
            {**ERRORS, "snow": [0.1] * 4},
            "snow: expected 5 errors, at severities 1 to 5, got 4; evaluate the others too",
        ),
        (
            {**ERRORS, "snow": [0.1] * 6},
            "snow: expected 5 errors, at severities 1 to 5, got 6; evaluate the others too",
        ),
        (
            {**ERRORS, "fog": [0.1, 0.1, 76.7, 0.1, 0.1]},
            "fog at severity 3: expected an error as a share in [0, 1], got 76.7; divide percents by 100",
        ),
        (
            {**ERRORS, "fog": [0.1, float("nan"), 0.1, 0.1, 0.1]},
            "fog at severity 2: expected an error as a share in [0, 1], got nan; divide percents by 100",
        ),
    ],
)
def test_what_is_missing_or_no_share_is_named(errors: dict[str, list[float]], message: str) -> None:
    with pytest.raises(InputError) as error:
        mean_corruption_error(errors, normalizer=NORMALIZER)
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        relative_mean_corruption_error(errors, 0.1, normalizer=NORMALIZER, clean_normalizer=0.2)
    assert str(error.value) == message


def test_a_clean_error_in_percent_is_refused() -> None:
    with pytest.raises(InputError) as error:
        relative_mean_corruption_error(ERRORS, 23.9, normalizer=NORMALIZER, clean_normalizer=0.2)
    assert str(error.value) == "clean images: expected an error as a share in [0, 1], got 23.9; divide percents by 100"


def test_it_needs_no_torch() -> None:
    code = "import sys, pytest_robustness.corruption_error; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# github.com/RobustBench/robustbench, model_info/imagenet/corruptions: the errors of each model under each corruption at each
# severity of ImageNet-C, on 5,000 images, and the mean corruption errors published with them. A row per model and corruption.
RESULTS = Path(__file__).parents[2] / "shared" / "data" / "robustbench_imagenet_c.csv"
PUBLISHED = {
    "AlexNet": 100.0,
    "Standard_R50": 76.38,
    "Salman2020Do_50_2_Linf": 80.0,
    "Hendrycks2020AugMix": 64.17,
    "Hendrycks2020Many": 60.04,
    "Geirhos2018_SIN": 76.67,
    "Geirhos2018_SIN_IN": 68.67,
    "Geirhos2018_SIN_IN_IN": 73.19,
    "Erichson2022NoisyMix": 60.46,
    "Erichson2022NoisyMix_new": 59.43,
    "Tian2022Deeper_DeiT-S": 47.61,
    "Tian2022Deeper_DeiT-B": 41.7,
}


@pytest.mark.real_model
@pytest.mark.skipif(not RESULTS.is_file(), reason=f"no published results: ../shared/data/{RESULTS.name} is not there")
@pytest.mark.parametrize("model", PUBLISHED)
def test_the_mean_corruption_error_of_a_published_model_is_the_published_one(model: str) -> None:
    """To 0.05 of what papers print as 76.38."""
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == model]
    errors = {row["corruption"]: [float(row[str(severity)]) for severity in (1, 2, 3, 4, 5)] for row in rows}
    assert 100 * mean_corruption_error(errors) == pytest.approx(PUBLISHED[model], abs=0.05)


def test_every_corruption_is_in_one_category() -> None:
    named = [name for names in CATEGORIES.values() for name in names]
    assert sorted(named) == sorted(COMMON + EXTRA)

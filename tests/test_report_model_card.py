"""Results as a section of a model card."""

from dataclasses import replace

import pytest
import yaml

from pytest_robustness.records import Case
from pytest_robustness.report.model_card import Stressed, render, stressed
from pytest_robustness.results import Results
from pytest_robustness.stats import proportion_interval
from tests.format_results import FGSM, HOSTILE, OTHER, RESULTS, RUN, STRANGE, TWO_MODELS, accuracy, evaluation, item


def parts(results: Results) -> tuple[dict, str]:
    """The metadata and the section."""
    _, metadata, section = render(results).split("---\n", maxsplit=2)
    return yaml.safe_load(metadata), section


def test_a_card_has_metadata_data_and_seed_the_gates_the_stresses_and_limits() -> None:
    low, high = proportion_interval(2, 4)
    assert render(RESULTS) == (
        "---\n"
        "model-index:\n"
        '- name: "Net"\n'
        "  results:\n"
        "  - task:\n"
        "      type: image-classification\n"
        "      name: Image Classification\n"
        "    dataset:\n"
        '      type: "tests-images"\n'
        '      name: "tests/images"\n'
        "    metrics:\n"
        "    - type: accuracy\n"
        '      name: "accuracy, FGSM() at epsilon 2/255"\n'
        "      value: 0.5\n"
        "---\n"
        "\n"
        "## Evaluation\n"
        "\n"
        "2 of 4 gates not passed, 1 failed as expected.\n"
        "\n"
        "### Testing Data, Factors & Metrics\n"
        "\n"
        "#### Testing Data\n"
        "\n"
        f"- 4 images of tests/images in 2 classes, SHA-256 `{'cd' * 32}`\n"
        "\n"
        "#### Factors\n"
        "\n"
        f"- Net, SHA-256 `{'ab' * 32}`; seed 7, cpu, float32; pytest-robustness 0.1.0, torch 2.5.0+cpu\n"
        "\n"
        "#### Metrics\n"
        "\n"
        "Accuracy is the share of images that are answered with an accepted class; an answer that a defense withholds is wrong. "
        "Intervals are exact, at 95 %.\n"
        "\n"
        "### Results\n"
        "\n"
        "| gate | verdict | measured | required | margin | n |\n"
        "|---|---|--:|--:|--:|--:|\n"
        "| error in test\\_bad | error | - | - | - | - |\n"
        "| top-1 holds until alpha 0.3 under Blend('zebra.png') | fail | 1 of 2 | all | -0.1 | 2 |\n"
        "| accuracy under FGSM() at epsilon 2/255 &gt;= 0.4 | pass | 0.5 | 0.4 | +0.1 | 4 |\n"
        "| accuracy under FGSM() at epsilon 2/255 &gt;= 0.6 | failed as expected | 0.5 | 0.6 | -0.1 | 4 |\n"
        "\n"
        "#### Accuracy under stress\n"
        "\n"
        "| stress | strength | right | accuracy | 95 % interval |\n"
        "|---|--:|--:|--:|--:|\n"
        f"| FGSM() | epsilon 2/255 | 2 of 4 | 0.5 | {low:.3f} to {high:.3f} |\n"
        "\n"
        "### What a pass does not prove\n"
        "\n"
        "- A gate proves what it measured: these images, these stresses at these strengths, this seed. Other images of the same kind may\n"
        "  fare otherwise; the intervals say by how much, as far as they are drawn alike.\n"
        "- No attack proves that there is no better one: the accuracy under an attack is an upper bound of the accuracy under all changes\n"
        "  of that size. Only certified accuracies are more than that, within their radius and their stated risk.\n"
        "- Images that the model takes as inputs were stressed. What a camera, a print or a crop does on the way to them was not measured,\n"
        "  unless a stress says so.\n"
        "- Nothing here tells how the model fares on classes that it does not know, or on data of another kind.\n"
    )


def test_a_card_names_the_profile_where_there_is_one() -> None:
    assert "\n- profile release\n\n#### Metrics\n" in render(replace(RESULTS, profile="release"))


def test_several_models_are_told_apart() -> None:
    metadata, section = parts(TWO_MODELS)
    values = {model["name"]: model["results"][0]["metrics"][0]["value"] for model in metadata["model-index"]}
    assert values == {"Net": 0.5, "Net (2)": 0.25}
    assert "| Net (2) | FGSM() | epsilon 2/255 | 1 of 4 | 0.25 |" in section
    assert section.count("seed 7") == 2


def test_metadata_has_what_the_form_requires() -> None:
    """The fields that are required by the specification of `model-index`, which a push to the hub checks."""
    for results in (RESULTS, TWO_MODELS, STRANGE):
        for model in parts(results)[0]["model-index"]:
            assert isinstance(model["name"], str)
            for own in model["results"]:
                assert own["task"]["type"] == "image-classification"
                assert own["dataset"]["type"]
                assert own["dataset"]["name"]
                assert all(isinstance(m["type"], str) and isinstance(m["value"], int | float) for m in own["metrics"])


def test_without_an_accuracy_there_is_a_section_alone() -> None:
    text = render(Results((item("a", 0.0),), (RUN,)))
    assert text.startswith("## Evaluation\n\n1 gate passed.\n")
    assert "Accuracy under stress" not in text


def test_hostile_names_stay_text() -> None:
    metadata, section = parts(STRANGE)
    flattened = HOSTILE.replace("\n", " ")
    (model,) = metadata["model-index"]
    assert (model["name"], model["results"][0]["dataset"]["name"]) == (flattened, flattened)
    assert "<img" not in section
    (row,) = (line for line in section.splitlines() if line.startswith("| accuracy under"))
    assert row == (
        '| accuracy under a"b\\\\c &lt;img src=x onerror=alert(1)&gt; \\| \\`x\\` \\*y\\* \\[z\\](w) \\# \\{u\\} %/../日本 '
        "&gt;= 0.4 | pass | 0.5 | 0.4 | +0.1 | 4 |"
    )


def test_an_accuracy_is_over_all_images_that_any_gate_asked_about() -> None:
    first, second = evaluation(FGSM, 1, 2), evaluation(FGSM, 3, 4)
    one, two = (replace(accuracy(f"test_{i}"), evaluations=(own,)) for i, own in enumerate((first, second)))
    assert stressed(Results((one, two), (RUN,))) == (Stressed(RUN.key, FGSM, 3, 4),)


def test_a_gate_that_was_decided_early_tells_of_no_accuracy() -> None:
    assert stressed(Results((replace(accuracy("test_a"), interval=None),), (RUN,))) == ()


@pytest.mark.parametrize("name", ["", "///", "Ünïcode Set"])
def test_a_set_of_any_name_has_an_identifier(name: str) -> None:
    named = replace(RUN, images=name)
    (model,) = parts(Results((replace(accuracy("test_a"), run=named.key),), (named,)))[0]["model-index"]
    assert model["results"][0]["dataset"]["type"] in ("images", "n-code-set")


def test_clean_images_come_before_stressed_ones_and_those_behind_defenses_last() -> None:
    cases = [Case("FGSM()", "epsilon", 0.1, "Vote()"), FGSM, Case("", "", 0.0)]
    asked = replace(accuracy("test_a"), evaluations=tuple(evaluation(case, 2) for case in cases))
    assert [own.case for own in stressed(Results((asked,), (RUN, OTHER)))] == cases[::-1]

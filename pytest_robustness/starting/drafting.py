"""The files that a project starts with, as text."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Literal

from pytest_robustness.starting.proposing import Proposal
from pytest_robustness.starting.subject import How, Subject
from pytest_robustness.starting.trials import Trial, first_trials

__all__ = ["MARK", "SCHEMA_FILE", "gates_text", "tests_text"]

SCHEMA_FILE = "robustness.schema.json"
"""What lets an editor complete and check the file of gates."""

MARK = "CHANGE ME"
"""What stands in place of a source that nobody named."""

_WIDTH = 100
_UNMEASURED = "0.5"
_MODEL = (
    "The model to judge. Others: torchvision:resnet50, timm:NAME, hf:NAME, a file of torch.export (.pt2), TorchScript (.pt) or ONNX, or a "
    "function of yours, package.module:function. Where the source does not say what the model was trained to see, write a mapping: {source: "
    "model.onnx, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}; state: weights.safetensors puts weights of yours into it."
)
_IMAGES = (
    "The images to judge it on: a folder with one folder per class, a list of files (.csv, .json, .yaml), tar files, a dataset on disk. As a "
    "mapping, {source: images, classes: classes.txt}, with the model's classes in the model's order, and on_bad_image: skip, resize: 256, "
    "crop: 224."
)
_GATES = (
    "What the model has to withstand. A gate is a test: `pytest -k fgsm` runs one. Thresholds are what the model promised when this file was "
    "written; raise them when it gets better, so that it never falls back. With confidence: 0.95 in a gate, all such images are judged and "
    "not these alone."
)
_MORE = (
    "More gates are proposed, with thresholds for this model, by `python -m pytest_robustness measure`. One test per image is made by this one, "
    "with a picture of yours:"
)
_BLEND = ("overlay:", "  assert: holds_until", "  stress: {Blend: overlay.png}", "  strength: 25 %")

_TESTS = '''"""What robustness.yaml can't say: rules of your own, for its model and its images."""

from pathlib import Path

import pytest
from pytest_robustness import (
    GaussianNoise,
    ImageSet,
    LoadedModel,
    Robustness,
    declared_images,
    declared_model,
)

GATES = Path(__file__).with_name("robustness.yaml")


@pytest.fixture(scope="session")
def robustness_model() -> LoadedModel:
    return declared_model(GATES)


@pytest.fixture(scope="session")
def robustness_images() -> ImageSet:
    return declared_images(GATES)


def test_noise_leaves_most_of_the_accuracy(robustness: Robustness) -> None:
    """Any measurement and a plain assert; a failure says which images it is about."""
    assert robustness.accuracy(GaussianNoise(), 0.05) >= SHARE * robustness.accuracy()
'''


def tests_text(share: float) -> str:
    """test_robustness.py, whose rule is that noise leaves this share of the accuracy."""
    return _TESTS.replace("SHARE", f"{share:g}")


def gates_text(subject: Subject, how: How, proposals: Sequence[Proposal] = ()) -> str:
    """robustness.yaml; without proposals, gates whose thresholds are not measured yet."""
    lines = [f"# yaml-language-server: $schema={SCHEMA_FILE}", *_section("model", _MODEL, subject)]
    lines += _section("images", _IMAGES, subject)
    lines += [f"{own.name}: {said}" for own in fields(how) if (said := getattr(how, own.name)) != own.default]
    lines += [*_comment(_GATES, ""), "gates:"]
    if proposals:
        for proposal in proposals:
            lines += _proposed(proposal)
    else:
        for trial in first_trials():
            lines += _unmeasured(trial)
    lines += [*_comment(_MORE, "  "), *(f"  # {line}" for line in _BLEND)]
    return "\n".join(lines) + "\n"


def _section(name: Literal["model", "images"], about: str, subject: Subject) -> list[str]:
    return [*_comment(about, ""), *subject.lines(name), ""]


def _proposed(proposal: Proposal) -> Iterator[str]:
    yield from _comment(proposal.trial.asks, "  ")
    if proposal.thresholds:
        seen = ", ".join(f"{row.k} of {row.n}" for row in proposal.rows)
        yield f"  {proposal.trial.name}: # {seen} when this was written"
        yield from (f"    {line}" for line in proposal.trial.gate(proposal.thresholds))
    else:
        why = proposal.said or "no more is right under it than by guessing, or for so few images it may be"
        yield from _comment(f"Left out: {why}.", "  ")
    yield ""


def _unmeasured(trial: Trial) -> Iterator[str]:
    yield from _comment(trial.asks, "  ")
    yield f"  {trial.name}: # not measured yet: {MARK}"
    yield from (f"    {line}" for line in trial.gate((_UNMEASURED,) * 2))
    yield ""


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
        break_long_words=False,
    )

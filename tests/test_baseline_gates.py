"""The gate over a baseline, by hand."""

import pytest

from pytest_robustness.baseline_gates import NoWorseThan
from pytest_robustness.errors import InputError
from tests.releases import asked


def test_an_accuracy_that_did_not_drop_passes_with_the_margin_of_what_it_gained() -> None:
    verdict, lost = NoWorseThan().judge(asked("-a b c d"), asked("-a b -c d").outcomes, name="release.json")
    assert (verdict.gate, verdict.status, verdict.n, lost) == ("no-worse", "pass", 4, ())
    assert (verdict.measured, verdict.required, verdict.margin) == (0.25, 0.0, 0.25)
    assert verdict.claim == "accuracy under FGSM() at epsilon 2/255 is no worse than the baseline's"
    assert verdict.reason == (
        "accuracy 0.75 (3 of 4, 95 % interval 0.194 to 0.994)\n"
        "in the baseline 0.5 (2 of 4, 95 % interval 0.068 to 0.932): +0.25, required >= 0\n"
        "0 lost and 1 gained, p = 1 (exact McNemar), against release.json\n"
        "gained: c.png"
    )


def test_a_drop_fails_with_the_images_that_were_lost() -> None:
    """All of seven lost: 2 / 2**7."""
    names = list("abcdefg")
    verdict, lost = NoWorseThan(0.25).judge(
        asked(dict.fromkeys(names, False)), asked(dict.fromkeys(names, True)).outcomes, name="release.json"
    )
    assert (verdict.status, verdict.measured, verdict.required, verdict.margin) == ("fail", -1.0, -0.25, -0.75)
    assert [outcome.image for outcome in lost] == [f"{name}.png" for name in names]
    assert verdict.claim == "accuracy under FGSM() at epsilon 2/255 is at most 0.25 below the baseline's"
    assert verdict.reason == (
        "accuracy 0 (0 of 7, 95 % interval 0.000 to 0.410)\n"
        "in the baseline 1 (7 of 7, 95 % interval 0.590 to 1.000): -1, required >= -0.25\n"
        "7 lost and 0 gained, p = 0.016 (exact McNemar), against release.json\n"
        "lost: a.png (dog 0.75), b.png (dog 0.75), c.png (dog 0.75), d.png (dog 0.75), e.png (dog 0.75) and 2 more"
    )


def test_a_drop_of_what_is_allowed_passes_although_images_were_lost() -> None:
    verdict, lost = NoWorseThan(0.1).judge(
        asked("-a b c d e f g h i j"), asked("a b c d e f g h i j").outcomes, name="b"
    )
    assert (verdict.status, [own.image for own in lost]) == ("pass", ["a.png"])


def test_a_case_or_an_image_that_the_baseline_does_not_have_fails_and_says_what_to_do() -> None:
    verdict, lost = NoWorseThan().judge(asked("a b"), [None, None], name="release.json")
    assert (verdict.status, verdict.measured, verdict.margin, lost) == ("fail", None, None, ())
    assert verdict.reason == (
        "expected FGSM() at epsilon 2/255 in the baseline release.json, got none of it; run once with --robustness-update-baseline"
    )
    near, _ = NoWorseThan().judge(asked("a"), [None], name="release.json", beside=["FGSM() at epsilon 1/255"])
    assert "got none of it but FGSM() at epsilon 1/255; run once" in near.reason
    some, _ = NoWorseThan().judge(asked("a b"), [asked("a").outcomes[0], None], name="release.json")
    assert some.reason == (
        "expected FGSM() at epsilon 2/255 in the baseline release.json, got 1 of 2 images, not b.png; run once with "
        "--robustness-update-baseline"
    )


@pytest.mark.parametrize("drop", [-0.1, 1, 5, True, "1%"])
def test_a_drop_that_is_no_share_is_refused(drop: object) -> None:
    with pytest.raises(InputError) as error:
        NoWorseThan(drop)  # type: ignore[arg-type]
    assert str(error.value) == f"expected a drop as a share in [0, 1), got {drop!r}; divide percents by 100"

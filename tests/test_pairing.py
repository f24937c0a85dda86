"""Models by their source, and the images that they take, as a project gives them."""

import pytest

FACTORY = """
from pytest_robustness import LoadedModel
from pytest_robustness.preprocessing import Geometry, Preprocessing

def sized():
    class Sized(Brightness):
        def forward(self, images):
            assert images.shape[-2:] == (8, 8), images.shape
            return super().forward(images)
    return LoadedModel(Sized(), source="sized", preprocessing=Preprocessing(Geometry(12, 8)), classes=NAMES)
"""
GATE = "def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n"


def given(project: pytest.Pytester, names: str, images: str = "") -> pytest.RunResult:
    """A project whose model is named by a string, and whose factory says what it was trained to see."""
    path = project.path / "brightness.py"
    path.write_text(path.read_text(encoding="utf-8") + FACTORY.replace("NAMES", names), encoding="utf-8")
    conftest = (project.path / "conftest.py").read_text(encoding="utf-8")
    conftest = conftest.replace("return Brightness()", 'return "brightness:sized"')
    project.makeconftest(conftest.replace('classes=["dark", "bright"]', f'classes=["dark", "bright"]{images}'))
    project.makepyfile(GATE)
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", "--robustness-json=out.json")


def test_a_model_may_be_the_string_of_its_source_and_images_are_sized_as_it_says(project: pytest.Pytester) -> None:
    result = given(project, '["dark", "bright"]')
    result.assert_outcomes(passed=1)
    text = (project.path / "out.json").read_text(encoding="utf-8")
    assert '"model": "brightness:sized"' in text
    assert (
        '"preprocessing": "short side 12 by bilinear, 8 x 8 from the centre; no mean and std of its own; from none"'
        in text
    )


def test_images_that_have_a_size_keep_it(project: pytest.Pytester) -> None:
    result = given(project, "()", images=", crop=9")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the model raised AssertionError at * on images of shape (6, 3, 9, 9): *"])


def test_classes_in_another_order_than_the_models_are_refused(project: pytest.Pytester) -> None:
    result = given(project, '["bright", "dark"]')
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (
        "images: expected the model's classes in the model's order, got 2 of 2 in other places: 0 is 'dark' here and 'bright' to the "
        "model, 1 is 'bright' here and 'dark' to the model; give the image set classes= in the model's order"
    ) in result.stdout.str()


def test_the_classes_of_images_are_found_by_name_among_more_of_the_models(project: pytest.Pytester) -> None:
    source = (project.path / "brightness.py").read_text(encoding="utf-8")
    # A model of four classes, of which the second and third are those of the images.
    more = "\n\nclass Brightness(Brightness):\n    def forward(self, images):\n        return torch.nn.functional.pad(super().forward(images), (1, 1), value=-50.0)\n"
    (project.path / "brightness.py").write_text(source + more, encoding="utf-8")
    result = given(project, '["black", "dark", "bright", "white"]')
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            '["bright", "drak", "white"]',
            "images: expected the model's classes, got 1 of 2 that it does not have: 'dark'; did you mean 'drak'?; give the image set "
            "classes= in the model's order, by the model's names",
        ),
        (
            '["bright", "dark", "dark"]',
            "images: expected one class called 'dark', got those at [1, 2]; give the index instead, to labelled_images",
        ),
    ],
)
def test_classes_that_are_not_told_among_the_models_are_refused(
    project: pytest.Pytester, names: str, said: str
) -> None:
    result = given(project, names)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert said in result.stdout.str()


def test_as_many_classes_by_other_names_are_taken_in_their_order(project: pytest.Pytester) -> None:
    given(project, '["0", "1"]').assert_outcomes(passed=1)

"""The examples run, small: what they print, what they draw, and the commands of their CI files."""

import importlib
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from examples import anchors, elephant_and_zebra, figure, material, modify_and_mimic, noise_vote
from pytest_robustness.__main__ import main
from pytest_robustness.charts import Chart, Line, Mark

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SCRIPTS = ("anchors", "elephant_and_zebra", "epsilon_curves", "modify_and_mimic", "noise_vote")
PHOTOS = pytest.mark.skipif(not material.has_photos(), reason="no real model: ../shared/data is not there")


@pytest.fixture(autouse=True)
def drawn_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where there are no photos, but for tests of them."""
    if request.node.get_closest_marker("real_model") is None:
        monkeypatch.setenv("ROBUSTNESS_DATA", str(tmp_path / "nothing"))


def shown_after(command: str) -> str:
    """What the README shows of what a command prints."""
    return README.partition(f"python -m {command}\n")[2].partition("```text\n")[2].partition("\n```")[0]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_an_elephant_becomes_a_zebra_and_its_curve_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elephant_and_zebra.main(["plain", "--picture", str(tmp_path / "figure.png")])
    out = capsys.readouterr().out
    assert shown_after("examples.elephant_and_zebra plain") in out
    lines = out.splitlines()
    assert [line[:12].strip() for line in lines[1:14]] == [f"{level} %" for level in range(100, 35, -5)]
    assert lines[14:] == [
        "subject: elephant",
        "intruder: zebra",
        "elephant/elephant_001.png under Blend('fixtures/overlays/zebra_stripes.png'): leaves the accepted classes at alpha 0.15 "
        "(zebra 0.70), zebra takes over at alpha 0.15 (zebra 0.70)",
        "breaking point of elephant/elephant_001.png under Blend('fixtures/overlays/zebra_stripes.png') = alpha 0.1094 (zebra 0.32)",
    ]
    assert size_of(tmp_path / "figure.png") == (1728, 1096)


def test_another_picture_may_lie_under_another_overlay(capsys: pytest.CaptureFixture[str]) -> None:
    spots = str(ROOT / "fixtures" / "overlays" / "leopard_spots.png")
    elephant_and_zebra.main(["hardened", "--image", "elephant/elephant_004.png", "--overlay", spots])
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("breaking point of elephant/elephant_004.png under Blend('fixtures/overlays/leopard_spots.png')")
    )


def test_a_small_network_and_darknet_53_are_trained_by_one_recipe_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from examples import epsilon_curves  # timm, whose import takes as long as torch's

    picture = tmp_path / "figure.png"
    epsilon_curves.main(["--per-class", "1", "--epochs", "1", "--images", "75", "--picture", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "parameters" in line] == [
        "SmallCNN: 123,372 parameters, trained on 12 pictures",
        "DarkNet53: 40,597,228 parameters, trained on 12 pictures",
    ]
    assert sum(line.startswith("epoch  1  training loss") for line in lines) == 2
    table = lines.index(next(line for line in lines if line.startswith("epsilon")))
    assert lines[table].split(maxsplit=1) == ["epsilon", lines[table][7:].strip()]
    assert [line.split()[0] for line in lines[table + 1 : table + 9]] == [
        *("0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "32/255")
    ]
    assert lines[-1].startswith("accuracy under FGSM() from epsilon 0 to 32/255, 4 images: small CNN ")
    assert size_of(picture) == (1320, 800)


def test_every_class_is_taken_towards_every_other_and_one_picture_is_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "outcomes.sqlite"
    arguments = ["plain", "--epsilon", "8", "--steps", "2", "--images-per-class", "1", "--store", str(store)]
    modify_and_mimic.main([*arguments, "--picture", str(tmp_path / "figure.png")])
    first = capsys.readouterr().out
    assert "class          modify rate" in first
    assert "group    modify rate" in first
    assert re.search(
        r"^PGD\(steps=2\) at epsilon 8/255 towards every other class: median modify rate\s+0\.\d+", first, re.M
    )
    assert re.search(r" under PGD\(steps=2\) at epsilon 8/255 towards \w+: becomes \w+ 0\.\d\d after \d steps?$", first)
    assert size_of(tmp_path / "figure.png")[0] >= 1668
    assert store.is_file()


def test_rates_are_drawn_where_no_attempt_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(tmp_path / "figure.png")
    modify_and_mimic.main(
        ["plain", "--epsilon", "0.01", "--steps", "1", "--images-per-class", "1", "--picture", picture]
    )
    assert capsys.readouterr().out.endswith("median modify rate\n  0.000, median mimic rate 0.000, 132 pairs\n")
    assert size_of(tmp_path / "figure.png") == (1620, 836)


def test_the_vote_is_told_beside_the_published_table_and_certificates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise_vote.main(
        ["plain", "--images", "25", "--certify", "4", "--n", "50", "--picture", str(tmp_path / "figure.png")]
    )
    ours, published, certified = capsys.readouterr().out.split("\n\n")
    assert ours.splitlines()[0] == "GaussianNoise() behind SmoothingVote(), 12 images"
    assert ours.splitlines()[1].split() == [
        "sigma",
        "none",
        "single",
        "double",
        "majority",
        "of",
        "all",
        "coverage",
        "rejected",
    ]
    assert published == noise_vote.PUBLISHED
    assert certified.splitlines()[0] == "L2 radius  certified accuracy"
    assert "RandomizedSmoothing(sigma=0.25, n=50).certifying on 3 images" in certified.splitlines()[-1]
    assert size_of(tmp_path / "figure.png")[0] == 1820


def test_the_published_table_is_that_of_the_page_on_defenses() -> None:
    """There to two or three places, here to three."""
    page = (ROOT / "docs" / "defenses.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\.?\d+) ((?:\| \.\d{3} ){5})\|$", page, flags=re.MULTILINE)
    there = [[float(sigma), *map(float, re.findall(r"\.\d+", cells))] for sigma, cells in rows]
    assert [[float(cell) for cell in line.split()] for line in noise_vote.PUBLISHED.splitlines()[2:]] == there


def test_the_anchors_of_a_picture_and_of_its_adversarial_twin_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors.main(["plain", "--picture", str(tmp_path / "figure.png")])
    found, _, heat = capsys.readouterr().out.partition("\n\n")
    assert found == shown_after("examples.anchors plain")
    assert heat.startswith(
        "mug/mug_000.png under PGD() at epsilon 2/255 towards sweater, by GradCAM()\nclean: mug 1.00, most at ("
    )
    assert size_of(tmp_path / "figure.png") == (1700, 1004)


def test_photos_are_measured_where_they_are_there_and_drawn_pictures_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, wanted in ((tmp_path, "plain"), (tmp_path / "data", "photos")):
        monkeypatch.setenv("ROBUSTNESS_DATA", str(tmp_path / "data"))
        folder.mkdir(exist_ok=True)
        if wanted == "photos":
            (folder / "models.py").write_text("", encoding="utf-8")
        parser = material.command("examples.noise_vote", "What it does.", choices=("photos", "plain"))
        assert parser.parse_args([]).what == wanted
    assert material.command("x", "", choices=("plain", "photos"), default="plain").parse_args([]).what == "plain"


def test_photos_that_are_not_there_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["noise_vote", "photos"])
    threads = torch.get_num_threads()
    try:
        assert material.status(noise_vote.main) == 2
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr()
    assert said.err == (
        f"photos: expected models.py, classifiers and images in {tmp_path / 'nothing'}, found none; name their folder by the "
        "environment variable ROBUSTNESS_DATA, or measure the drawn pictures: plain or hardened\n"
    )
    assert said.out == ""


def test_a_picture_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["elephant_and_zebra", "plain", f"--picture={tmp_path / 'file' / 'figure.png'}"])
    threads = torch.get_num_threads()
    try:
        assert material.status(elephant_and_zebra.main) == 3
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().err == f"could not write {tmp_path / 'file'}: File exists\n"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_a_number_of_things_is_one_or_more(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        noise_vote.main(["plain", f"--images={text}"])
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"python -m examples.noise_vote: error: argument --images: expected a whole number of 1 or more, got {text!r}"
    )


@pytest.mark.real_model
@PHOTOS
def test_the_elephant_of_the_photos_becomes_a_zebra_under_the_photo_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    zebra = material.published() / "imagenet_samples" / "images" / "n02391049_zebra.jpg"
    elephant_and_zebra.main(["photos", "--overlay", str(zebra)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[14] == "subject: African elephant or Indian elephant or tusker"
    assert lines[16].endswith(
        ": leaves the accepted classes at alpha 0.2 (tiger 0.56), zebra takes over at alpha 0.25 (zebra 0.45)"
    )


def test_a_chart_has_its_lines_bands_and_marks_in_their_colours() -> None:
    subject = Line("elephant", ((0.0, 1.0), (0.5, 0.0)), band=((0.9, 1.0), (0.0, 0.1)), role="subject")
    intruder = Line("zebra", ((0.0, 0.0), (0.5, 1.0)), role="intruder")
    drawn = figure.chart(Chart("title", "alpha", "probability", (subject, intruder), (Mark(0.25, "leaves"),)))
    colours = {f"#{red:02x}{green:02x}{blue:02x}" for _, (red, green, blue) in drawn.getcolors(1 << 20) or ()}
    assert {"#2460c0", "#b83c0b", "#1c2430", "#d9dee5", "#ffffff"} <= colours
    assert "#e3eaf7" in colours, "the band: its line's colour at 13 % on white"


def test_a_tile_has_its_picture_its_overlay_and_no_more_text_than_fits() -> None:
    grey, red = Image.new("RGB", (4, 4), "#808080"), Image.new("RGBA", (4, 4), "#ff000000")
    red.putpixel((0, 0), (255, 0, 0, 255))
    drawn = figure.tile(grey, ["a text that is much longer than its picture is wide"], width=40, overlay=red)
    assert drawn.size == (80, 116)
    assert [drawn.getpixel(at) for at in ((5, 5), (70, 70))] == [(255, 0, 0), (128, 128, 128)]
    assert drawn.crop((78, 82, 80, 116)).getcolors() == [(68, (255, 255, 255))]


def test_what_an_overlay_leaves_out_is_faded() -> None:
    black, part = Image.new("RGB", (2, 1), "black"), Image.new("RGBA", (2, 1), "#00000000")
    part.putpixel((0, 0), (255, 0, 0, 100))
    kept = figure.kept(black, part)
    assert [kept.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (204, 204, 204)]


def test_a_figure_is_saved_with_a_margin_in_few_colours(tmp_path: Path) -> None:
    two = figure.below(Image.new("RGB", (10, 10), "red"), figure.beside(*[Image.new("RGB", (4, 4), "blue")] * 2))
    assert two.size == (28, 34)
    figure.save(figure.titled("a title that is wider than the figure", two), tmp_path / "new" / "figure.png")
    with Image.open(tmp_path / "new" / "figure.png") as image:
        assert image.mode == "P"
        assert image.width > 200
        assert image.convert("RGB").getpixel((25, 62)) == (255, 0, 0)


def test_the_readme_has_every_example_and_its_picture() -> None:
    assert set(re.findall(r"^python -m examples\.(\w+)", README, flags=re.MULTILINE)) == set(SCRIPTS)
    pictures = sorted((FOLDER / "pictures").iterdir())
    assert [picture.stem for picture in pictures] == list(SCRIPTS)
    for picture in pictures:
        assert f"](pictures/{picture.name})" in README
        assert picture.stat().st_size <= 150_000
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (FOLDER / target).exists(), target


def test_examples_know_the_commands_of_all_pages(capsys: pytest.CaptureFixture[str]) -> None:
    for page in (FOLDER / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for module, arguments in re.findall(r"python -m (examples\.\w+)([\w ./-]*)", page.read_text(encoding="utf-8")):
            with pytest.raises(SystemExit, match=r"^0$"):
                importlib.import_module(module).main([*arguments.split(), "--help"])
            assert f"usage: python -m {module} [-h] [--picture FILE]" in capsys.readouterr().out


def commands_of(file: str) -> list[str]:
    """What the jobs of a CI file run, in their order."""
    read: dict[str, Any] = yaml.safe_load((FOLDER / "ci" / file).read_text(encoding="utf-8"))
    if "jobs" in read:
        return [step["run"] for job in read["jobs"].values() for step in job["steps"] if "run" in step]
    return [line for job in read.values() if isinstance(job, dict) for line in job.get("script", ())]


def ours(file: str, **variables: str) -> list[list[str]]:
    """Of these, those that run tests or this package, as lists of arguments."""
    found = []
    for command in commands_of(file):
        for name, value in variables.items():
            command = re.sub(rf"\$\{{\{{ {name} \}}\}}|\${name}\b", value, command)
        assert "$" not in command
        words = shlex.split(command)
        if words[0] in ("pytest", "python"):
            found.append(words)
    return found


def test_both_services_run_the_same_commands() -> None:
    github = ours("github-actions.yml", **{"matrix.shard": "2"})
    assert [command[:3] for command in github] == [
        ["pytest", "tests/robustness", "--robustness-profile=ci"],
        ["pytest", "tests/robustness", "--robustness-profile=release"],
        ["python", "-m", "pytest_robustness"],
        ["python", "-m", "pytest_robustness"],
    ]
    gitlab = ours("gitlab-ci.yml", CI_NODE_INDEX="2", CI_NODE_TOTAL="4")
    # OpenMetrics are read by GitLab alone.
    assert [[word for word in command if "openmetrics" not in word] for command in gitlab] == github


def test_the_jobs_of_the_ci_files_need_jobs_that_there_are_and_keep_what_their_commands_write() -> None:
    github: dict[str, Any] = yaml.safe_load((FOLDER / "ci" / "github-actions.yml").read_text(encoding="utf-8"))
    jobs = github["jobs"]
    assert list(jobs) == ["gate", "shard", "release"]
    assert jobs["release"]["needs"] in jobs
    assert jobs["shard"]["strategy"]["matrix"]["shard"] == [1, 2, 3, 4]
    assert all(job["runs-on"] == "ubuntu-latest" for job in jobs.values())
    gitlab: dict[str, Any] = yaml.safe_load((FOLDER / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    assert {gitlab[name]["stage"] for name in jobs} == set(gitlab["stages"])
    assert gitlab["release"]["needs"] == ["shard"]
    assert gitlab["shard"]["parallel"] == 4
    for name in jobs:
        steps = [step for step in jobs[name]["steps"] if step.get("uses", "").startswith("actions/upload-artifact")]
        kept = " ".join([*(step["with"]["path"] for step in steps), *gitlab[name]["artifacts"]["paths"]])
        assert {"gate": "reports/", "shard": "shard-*.json", "release": "report.html"}[name] in kept


def test_the_ci_files_run_from_the_pull_request_to_the_release(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one machine: the gate, the four shards of a tag, and the release over what they leave."""
    tests = project.mkpydir("tests") / "robustness"
    tests.mkdir()
    (tests / "test_gates.py").write_text(
        "from pytest_robustness import FGSM, Blend\n\n"
        "def test_fgsm(robustness):\n    robustness.assert_accuracy(FGSM(), 2 / 255, at_least=0.5)\n\n"
        "def test_white(robustness, robustness_image):\n"
        "    robustness.assert_holds_until(robustness_image, Blend('white.png'), 0.1)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(project.path)

    def run(command: list[str], *more: str) -> int:
        return int(project.runpytest_inprocess("-p", "no:randomly", *command[1:], *more).ret)

    gate, _, merge, compare = ours("gitlab-ci.yml", CI_NODE_INDEX="1", CI_NODE_TOTAL="4")
    assert run(gate) == 0
    assert {path.name for path in Path("reports").iterdir()} == {
        *("robustness.html", "robustness.json", "junit.xml", "metrics.txt")
    }
    assert Path(".pytest_cache/d/robustness").is_dir()
    # The baseline of the release before: created, and failed for that.
    assert run(["pytest", "tests/robustness", "--robustness-baseline=release"]) == 1
    for shard in ("1", "2", "3", "4"):
        _, command, _, _ = ours("github-actions.yml", **{"matrix.shard": shard})
        assert run(command) in (0, 1)
    assert main(merge[3:]) == 0
    assert main(compare[3:]) == 0
    assert {"results.json", "report.html", "card.md"} <= set(os.listdir())

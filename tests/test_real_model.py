"""The headline assertions on a real ImageNet classifier and real photos, where they lie beside the checkout.

The figures are those of ../shared/data/README.md, measured there on other code.
"""

import csv
import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from pytest_robustness import (
    FGSM,
    PGD,
    Blend,
    Engine,
    GateFailed,
    GaussianNoise,
    Robustness,
    SmoothingVote,
    Square,
    image_folder,
    labelled_images,
    transparencies,
)
from pytest_robustness.trust import Trust
from pytest_robustness.vote_tables import VoteRow

DATA = Path(__file__).parents[2] / "shared" / "data"
PHOTOS = DATA / "imagenet_samples"

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real model: ../shared/data is not there"),
]

# Indian elephant, African elephant, tusker.
ELEPHANTS = [385, 386, 101]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (PHOTOS / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def published(name: str) -> torch.nn.Module:
    """One of the classifiers of the data folder."""
    sys.path.insert(0, str(DATA))
    try:
        import models
    finally:
        sys.path.remove(str(DATA))
    model: torch.nn.Module = getattr(models, name)()
    return model


@pytest.fixture(scope="module")
def robustness(rows: list[dict[str, str]]) -> Robustness:
    """MobileNetV2 on the 200 photos; any elephant will do for an elephant."""
    lines = (PHOTOS / "classes.txt").read_text(encoding="utf-8").splitlines()
    labels = {row["file"]: [int(row["label"])] for row in rows}
    labels = {file: ELEPHANTS if own[0] in ELEPHANTS else own for file, own in labels.items()}
    images = labelled_images(
        PHOTOS,
        labels,
        classes=[line.partition("\t")[2].partition(",")[0] for line in lines],
        accept={"grey"},
        resize=256,
        crop=224,
    )
    # Small batches of channels_last run this network several times faster on a CPU.
    model = published("mobilenet_v2").to(memory_format=torch.channels_last)
    return Robustness(Engine(model, images, device="cpu", batch_size=4))


@pytest.fixture
def zebra(tmp_path: Path) -> Blend:
    """The zebra photo, prepared as the photos under it are."""
    photo = Image.open(PHOTOS / "images" / "n02391049_zebra.jpg")
    width = int(256 * photo.width / photo.height)
    left = round((width - 224) / 2)
    photo.resize((width, 256), Image.Resampling.BILINEAR).crop((left, 16, left + 224, 240)).save(tmp_path / "zebra.png")
    return Blend(tmp_path / "zebra.png")


def test_an_indian_elephant_holds_under_a_zebra_until_0_10_and_not_until_0_15(
    robustness: Robustness, zebra: Blend
) -> None:
    elephant = "images/n02504013_Indian_elephant.jpg"
    robustness.assert_holds_until(elephant, zebra, 0.10, levels=2)
    with pytest.raises(GateFailed):
        robustness.assert_holds_until(elephant, zebra, 0.15, levels=3)
    broke = robustness.breaking_point(elephant, zebra, up_to=0.5, levels=10)
    assert broke == 0.15
    assert broke.ladder.rungs[-1][1].predicted == "tiger"
    takeover = robustness.engine.evaluate([elephant], zebra, 0.25).outcomes[0]
    assert takeover.predicted == "zebra"


def test_the_transparency_experiment_is_one_call_and_one_table(robustness: Robustness) -> None:
    """The African elephant under the zebra crop: the curve of ../shared/data/README.md, whose photo was resized otherwise
    (0.989 for the clean one, 0.987 here), to 0.1."""
    curve = robustness.sweep(
        "images/n02504458_African_elephant.jpg",
        Blend(DATA / "overlays" / "zebra_stripes.png"),
        transparencies(100, 50, step=5),
    )
    published = [0.989, 0.925, 0.717, 0.527, 0.378, 0.286, 0.225, 0.180, 0.112, 0.064, 0.020]
    assert [point.outcome.subject for point in curve.points] == pytest.approx(published, abs=0.1)
    assert set(curve.accepted) == {"African elephant", "Indian elephant", "tusker"}
    assert len(curve.table().splitlines()) == 1 + 11 + 3
    assert curve.drops_below(0.5) == 0.15
    assert curve.leaves == 0.25


def test_the_accuracy_on_the_200_photos_is_the_published_one(robustness: Robustness) -> None:
    assert robustness.accuracy() == 178 / 200
    robustness.assert_accuracy(at_least=0.89)


def test_fgsm_costs_more_the_larger_its_epsilon_and_is_fgsm_as_written_in_the_paper(robustness: Robustness) -> None:
    some = [image.id for image in robustness.engine.images.images[:40]]
    clean, quarter, one = (robustness.accuracy(FGSM(), eps / 255, images=some) for eps in (0, 0.25, 1))
    assert clean > quarter > one
    robustness.assert_accuracy(FGSM(), 0.25 / 255, at_least=0.2, images=some)
    with pytest.raises(GateFailed):
        robustness.assert_accuracy(FGSM(), 2 / 255, at_least=0.40, images=some)
    batch = robustness.engine.images.batch(some[:4])
    images = batch.images.clone().requires_grad_()
    labels = batch.accepted.long().argmax(1)
    torch.nn.functional.cross_entropy(robustness.engine.model(images), labels, reduction="sum").backward()
    by_hand = (images + 1 / 255 * images.grad.sign()).clamp(0, 1).detach()
    with torch.no_grad():
        before = robustness.engine.model(batch.images).argmax(1) == labels
        after = (robustness.engine.model(by_hand).argmax(1) == labels) & before
    assert [outcome.correct for outcome in one.evaluation.outcomes[:4]] == after.tolist()


def test_the_vote_recovers_a_penguin_from_noise_and_not_a_landscape(robustness: Robustness) -> None:
    penguin = "images/n02056570_king_penguin.jpg"
    robustness.assert_vote_recovers(penguin, GaussianNoise(), 0.125, SmoothingVote())
    (verdict,) = robustness.verdicts[-1:]
    voted, alone = verdict.evaluations
    assert (voted.outcomes[0].correct, alone.outcomes[0].correct) == (True, False)
    with pytest.raises(GateFailed):
        robustness.assert_vote_recovers(penguin, GaussianNoise(), 0.375, SmoothingVote())


@pytest.mark.parametrize(
    ("sigma", "published"),
    [
        (0.0, {"none": 0.894, "single": 0.723, "double": 0.656, "majority": 0.777, "reject": 0.053}),
        (0.125, {"none": 0.302, "single": 0.405, "double": 0.437, "majority": 0.501, "reject": 0.216}),
        (0.25, {"none": 0.019, "single": 0.108, "double": 0.156, "majority": 0.160, "reject": 0.418}),
    ],
    ids=["no noise", "sigma 0.125", "sigma 0.25"],
)
def test_the_noise_table_agrees_with_the_one_of_all_977_colour_photos(
    robustness: Robustness, rows: list[dict[str, str]], sigma: float, published: dict[str, float]
) -> None:
    """Each figure within two standard errors of the difference: this sample is a fifth of that one."""
    colour = [row["file"] for row in rows if row["mode"] == "RGB"]
    vote = SmoothingVote()
    row = VoteRow(vote.voters, robustness.engine.behind(vote).evaluate(colour, GaussianNoise(), sigma))
    shares = {**row.alone, "majority": row.majority, "reject": row.rejected}
    accepted = round(977 * (1 - published["reject"]))
    measured = {name: (share.value, share.n, accepted if name == "majority" else 977) for name, share in shares.items()}
    for name, (share, here, there) in measured.items():
        p = published[name]
        error = math.sqrt(p * (1 - p) * (1 / here + 1 / there))
        assert abs(share - p) <= 2 * error, (name, share, p, error)


@pytest.mark.parametrize("epsilon", [0.25, 0.5, 1, 2, 8])
def test_no_shortcut_changes_a_verdict_of_a_naive_loop(epsilon: float) -> None:
    """PGD and FGSM on ResNet-20 and 100 CIFAR-10 images, against a loop that asks the model as given about every image at every step."""
    images = image_folder(DATA / "cifar10" / "images")
    model = published("cifar_resnet20").requires_grad_(False)
    robustness = Robustness(Engine(model, images, device="cpu"))
    some = [image.id for image in images.images[::10]]
    fgsm, pgd = (
        [outcome.correct for outcome in robustness.accuracy(attack, epsilon / 255, images=some).evaluation.outcomes]
        for attack in (FGSM(), PGD(steps=6))
    )
    assert robustness.engine.provenance.execution == "19 batch norms folded, channels_last"

    batch = images.batch(some)
    labels, radius = batch.accepted.long().argmax(1), epsilon / 255
    one_step, naive = torch.ones(100, dtype=torch.bool), torch.ones(100, dtype=torch.bool)
    for rows in torch.arange(100).split(20):
        clean, truth = batch.images[rows], labels[rows]
        current, standing = clean, right(model, clean, truth)
        for step in range(6):
            leaf = current.clone().requires_grad_()
            # In float32 the cross-entropy of a certain answer has a gradient of rounding errors.
            loss = torch.nn.functional.cross_entropy(model(leaf).double(), truth, reduction="sum")
            (gradients,) = torch.autograd.grad(loss, leaf)
            if step == 0:
                one_step[rows] = standing & right(model, (clean + radius * gradients.sign()).clamp(0, 1), truth)
            moved = current + 2.5 / 6 * radius * gradients.sign()
            current = torch.clamp(clean + (moved - clean).clamp(-radius, radius), 0, 1)
            standing &= right(model, current, truth)
        naive[rows] = standing
    assert fgsm == one_step.tolist()
    # What one step fools is fooled, also where six smaller steps pass it by.
    assert pgd == (naive & one_step).tolist()
    assert (naive & ~one_step).sum() <= 1
    assert 0 < sum(pgd) < 100 or epsilon >= 2


def right(model: torch.nn.Module, shown: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(shown).argmax(1) == labels


def test_a_search_in_bfloat16_comes_within_two_images_of_one_in_float32() -> None:
    images = image_folder(DATA / "cifar10" / "images")
    some = [image.id for image in images.images[::20]]
    engine = Engine(published("cifar_resnet20"), images, device="cpu", precision="bfloat16")
    full = Engine(published("cifar_resnet20"), images, device="cpu")
    found, expected = (e.evaluate(some, PGD(steps=5), 0.5 / 255).correct for e in (engine, full))
    assert expected <= found <= expected + 2


def test_no_attack_on_the_classifier_is_doubted(robustness: Robustness) -> None:
    checks = Trust(robustness.engine)
    # All attacks are looked into on a smaller model, in test_attacks_real.
    for attack in (FGSM(), PGD(), Square(50)):
        assert checks.doubts(attack, 0.5 / 255)[1] == (), attack

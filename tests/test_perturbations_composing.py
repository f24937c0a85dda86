"""Chains: what one perturbation makes of an image is what the next one is given."""

import pytest
import torch

from pytest_robustness.attacks import FGSM
from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import (
    JPEG,
    Brightness,
    Contrast,
    GaussianBlur,
    GaussianNoise,
    ShotNoise,
    fixed,
    then,
)
from pytest_robustness.seeding import Streams

STREAMS = Streams(0, "test", ("a.png", "b.png", "c.png", "d.png"))
STRENGTHS = torch.tensor([0.0, 0.2, 0.5, 1.0])


def noise_images(n: int = 4, height: int = 9, width: int = 13) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_the_parts_are_applied_in_their_order() -> None:
    images, half = noise_images(), torch.full((4,), 0.5)
    flat = Contrast()(images, half, STREAMS)
    found = then(fixed(Contrast(), 0.5), Brightness())(images, STRENGTHS, STREAMS)
    assert torch.equal(found[1:], Brightness()(flat, STRENGTHS, STREAMS).clamp(0, 1)[1:])
    bright = Brightness()(images, STRENGTHS, STREAMS).clamp(0, 1)
    found = then(Brightness(), fixed(Contrast(), 0.5))(images, STRENGTHS, STREAMS)
    assert torch.equal(found[1:], Contrast()(bright, half, STREAMS)[1:])


def test_at_strength_0_the_fixed_parts_are_left_out_too() -> None:
    """As for every stress; the smallest strength there is brings them all."""
    images = noise_images()
    chain = then(fixed(GaussianBlur(), 1.5), Brightness())
    found = chain(images, torch.tensor([0.0, 1e-30, 0.0, 0.2]), STREAMS)
    assert torch.equal(found[[0, 2]], images[[0, 2]])
    blurred = GaussianBlur()(images, torch.full((4,), 1.5), STREAMS)
    assert torch.allclose(found[1], blurred[1], rtol=0, atol=1e-6)
    assert torch.allclose(found[3], (blurred[3] + 0.2).clamp(0, 1), rtol=0, atol=1e-6)


def test_images_are_clamped_between_the_parts() -> None:
    """0.8 + 0.5 is white; taking 0.5 away again leaves 0.5."""
    images = torch.full((1, 3, 2, 2), 0.8)
    chain = then(fixed(Brightness(), 0.5), Brightness(toward="black"))
    found = chain(images, torch.tensor([0.5]), STREAMS.select([0]))
    assert torch.allclose(found, torch.full_like(images, 0.5), rtol=0, atol=1e-6)


def test_the_same_noise_twice_is_two_noises() -> None:
    images = torch.full((4, 3, 64, 64), 0.5)
    chain = then(fixed(GaussianNoise(), 0.05), GaussianNoise())
    noise = chain(images, torch.full((4,), 0.05), STREAMS) - 0.5
    assert noise.std().item() == pytest.approx(0.05 * 2**0.5, rel=0.02)
    assert not torch.equal(chain(images, STRENGTHS, STREAMS), chain(images, STRENGTHS, STREAMS.child("other")))


def test_a_chain_has_the_unit_and_the_limit_of_its_swept_part() -> None:
    chain = then(fixed(GaussianBlur(), 1.5), JPEG(), fixed(GaussianNoise(), 0.1))
    assert (chain.unit, chain.limit) == (JPEG.unit, JPEG.limit)


def test_a_chain_may_be_a_part_of_a_chain() -> None:
    images = noise_images()
    inner = then(fixed(GaussianBlur(), 1.0), Contrast())
    found = then(inner, fixed(Brightness(), 0.1))(images, STRENGTHS, STREAMS)
    expected = inner(images, STRENGTHS, STREAMS).clamp(0, 1) + 0.1
    assert torch.allclose(found[1:], expected[1:].clamp(0, 1), rtol=0, atol=1e-6)
    assert torch.equal(found[0], images[0])


def test_a_chain_is_equal_to_another_of_the_same_parts() -> None:
    chain = then(fixed(GaussianBlur(border="replicate"), 1.5), JPEG())
    assert repr(chain) == "then(fixed(GaussianBlur(border='replicate'), 1.5), JPEG())"
    assert chain == then(fixed(GaussianBlur(border="replicate"), 1.5), JPEG())
    assert chain != then(fixed(GaussianBlur(border="replicate"), 1.6), JPEG())
    assert chain != then(JPEG(), fixed(GaussianBlur(border="replicate"), 1.5))


def test_two_free_parts_are_refused() -> None:
    with pytest.raises(InputError) as error:
        then(GaussianBlur(), JPEG(), fixed(GaussianNoise(), 0.1))
    assert str(error.value) == (
        "then(GaussianBlur(), JPEG(), fixed(GaussianNoise(), 0.1)): expected one perturbation that is swept, got 2: "
        "GaussianBlur(), JPEG(); fix the others, as in fixed(GaussianBlur(), 1.5)"
    )


def test_a_chain_of_fixed_parts_alone_is_refused() -> None:
    with pytest.raises(InputError) as error:
        then(fixed(GaussianBlur(), 1.5), fixed(JPEG(), 50))
    assert str(error.value) == (
        "then(fixed(GaussianBlur(), 1.5), fixed(JPEG(), 50)): expected one perturbation that is swept, got 0; "
        "leave one of them free"
    )


def test_an_attack_is_no_part_of_a_chain() -> None:
    message = "FGSM(): expected a perturbation such as GaussianBlur(), got an attack; chain perturbations"
    with pytest.raises(InputError) as error:
        then(fixed(GaussianBlur(), 1.5), FGSM())  # type: ignore[arg-type]
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        fixed(FGSM(), 0.1)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(("part", "named"), [(1.5, "1.5"), (GaussianBlur, "GaussianBlur"), (None, "None")])
def test_what_is_no_perturbation_is_no_part_of_a_chain(part: object, named: str) -> None:
    message = f"expected a perturbation such as GaussianBlur(), got {named}; make an instance of a perturbation"
    with pytest.raises(InputError) as error:
        then(JPEG(), part)  # type: ignore[arg-type]
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        fixed(part, 0.1)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_a_part_is_fixed_at_a_strength_that_it_has() -> None:
    with pytest.raises(InputError) as error:
        fixed(ShotNoise(), 2.0)
    assert str(error.value) == "ShotNoise(): expected 1/photons in [0, 1], got 2.0"
    with pytest.raises(InputError) as error:
        fixed(JPEG(), -1)
    assert str(error.value) == "JPEG(): expected quality loss in [0, 99], got -1"

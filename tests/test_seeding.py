"""Noise belongs to an image, a purpose and a seed, and to nothing else."""

import math

import pytest
import torch

from pytest_robustness.seeding import Streams

IDS = ("a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/2.png")

draws = pytest.mark.parametrize("draw", ["normal", "uniform"])


def drawn(draw: str, streams: Streams, *, size: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    numbers: torch.Tensor = getattr(streams, draw)(torch.empty(len(streams.ids), 3, size, size, dtype=dtype))
    return numbers


def rates(*shape: int) -> torch.Tensor:
    return 1000 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_a_child_is_the_same_images_and_seed_with_a_longer_purpose() -> None:
    assert Streams(7, "PGD()", IDS).child("start") == Streams(7, "PGD()/start", IDS)


def test_select_takes_rows_in_the_order_they_are_named() -> None:
    assert Streams(7, "PGD()", IDS).select([3, 0]) == Streams(7, "PGD()", ("b/1.png", "a/0.png"))
    assert Streams(7, "PGD()", IDS).select([]) == Streams(7, "PGD()", ())


def test_normal_numbers_have_the_moments_of_the_standard_normal() -> None:
    numbers = drawn("normal", Streams(0, "noise", IDS), size=128, dtype=torch.float64)
    assert numbers.mean().item() == pytest.approx(0, abs=0.01)
    assert (numbers**2).mean().item() == pytest.approx(1, abs=0.01)
    assert (numbers**3).mean().item() == pytest.approx(0, abs=0.03)
    assert (numbers**4).mean().item() == pytest.approx(3, abs=0.1)


def test_uniform_numbers_have_the_moments_of_the_unit_interval() -> None:
    numbers = drawn("uniform", Streams(0, "noise", IDS), size=128, dtype=torch.float64)
    assert numbers.min().item() >= 0
    assert numbers.max().item() < 1
    assert numbers.mean().item() == pytest.approx(1 / 2, abs=0.005)
    assert (numbers**2).mean().item() == pytest.approx(1 / 3, abs=0.005)


@pytest.mark.parametrize("rate", [0.5, 7.0, 300.0])
def test_poisson_numbers_have_mean_and_variance_of_their_rates(rate: float) -> None:
    numbers = Streams(0, "noise", IDS).poisson(torch.full((5, 3, 128, 128), rate))
    assert torch.equal(numbers, numbers.round())
    assert numbers.mean().item() == pytest.approx(rate, rel=0.01)
    assert (numbers - rate).square().mean().item() == pytest.approx(rate, rel=0.02)
    share = (numbers == round(rate)).float().mean().item()
    assert share == pytest.approx(
        math.exp(round(rate) * math.log(rate) - rate - math.lgamma(round(rate) + 1)), rel=0.05
    )


def test_poisson_numbers_belong_to_seed_purpose_and_image() -> None:
    """Alone and in company, in any order, in any memory format, and from no global generator."""
    streams, of_all = Streams(7, "noise", IDS), rates(5, 3, 6, 4)
    before = torch.get_rng_state()
    together = streams.poisson(of_all)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(streams.poisson(of_all), together)
    assert torch.equal(of_all, rates(5, 3, 6, 4))
    for rows in ([0], [3], [4, 1, 3, 0, 2]):
        assert torch.equal(streams.select(rows).poisson(of_all[rows]), together[rows])
    for other in (of_all.contiguous(memory_format=torch.channels_last), of_all.mT.contiguous().mT):
        assert not other.is_contiguous()
        assert streams.poisson(other).is_contiguous()
        assert torch.equal(streams.poisson(other), together)
    for unlike in (Streams(8, "noise", IDS), streams.child("other"), Streams(7, "noise", tuple("abcde"))):
        assert not torch.equal(unlike.poisson(of_all), together)


def test_seeds_belong_to_seed_purpose_and_image() -> None:
    streams = Streams(7, "noise", IDS)
    seeds = streams.seeds()
    assert len(set(seeds)) == len(IDS)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert streams.select([3, 0]).seeds() == (seeds[3], seeds[0])
    assert not set(seeds) & {*Streams(8, "noise", IDS).seeds(), *streams.child("other").seeds()}


def test_streams_of_different_images_are_uncorrelated() -> None:
    numbers = drawn("normal", Streams(0, "noise", IDS), size=64).flatten(1)
    assert torch.allclose(torch.corrcoef(numbers), torch.eye(len(IDS)), atol=0.05)


@draws
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3, 7, 2)], ids=str)
def test_numbers_have_the_shape_and_type_that_they_are_drawn_for(
    draw: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    numbers = getattr(Streams(0, "noise", IDS), draw)(torch.empty(shape, dtype=dtype))
    assert (numbers.shape, numbers.dtype, numbers.device.type) == (shape, dtype, "cpu")


@draws
def test_an_image_meets_the_same_numbers_alone_and_in_company(draw: str) -> None:
    streams = Streams(7, "noise", IDS)
    together = drawn(draw, streams)
    for row in range(len(IDS)):
        assert torch.equal(drawn(draw, streams.select([row]))[0], together[row])


@draws
def test_an_image_meets_the_same_numbers_in_any_order(draw: str) -> None:
    streams, order = Streams(7, "noise", IDS), [4, 1, 3, 0, 2]
    assert torch.equal(drawn(draw, streams.select(order)), drawn(draw, streams)[order])


@draws
def test_the_memory_format_of_the_images_does_not_matter(draw: str) -> None:
    plain = torch.empty(5, 3, 6, 4)
    streams = Streams(7, "noise", IDS)
    expected = getattr(streams, draw)(plain)
    for other in (plain.contiguous(memory_format=torch.channels_last), torch.empty(5, 3, 4, 6).transpose(2, 3)):
        numbers = getattr(streams, draw)(other)
        assert not other.is_contiguous()
        assert numbers.is_contiguous()
        assert torch.equal(numbers, expected)


@draws
def test_drawing_twice_gives_the_same_numbers(draw: str) -> None:
    streams = Streams(7, "noise", IDS)
    assert torch.equal(drawn(draw, streams), drawn(draw, streams))


@draws
@pytest.mark.parametrize(
    "other",
    [
        Streams(8, "noise", IDS),
        Streams(7, "other noise", IDS),
        Streams(7, "noise", IDS).child("start"),
        Streams(7, "noise", tuple(f"{name} (copy)" for name in IDS)),
    ],
    ids=["seed", "purpose", "child", "id"],
)
def test_seed_purpose_child_and_id_each_change_every_number(draw: str, other: Streams) -> None:
    one, two = drawn(draw, Streams(7, "noise", IDS), size=32), drawn(draw, other, size=32)
    assert (one == two).float().mean().item() < 0.001
    correlation = torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]
    assert correlation.item() == pytest.approx(0, abs=0.05)


@draws
def test_drawing_leaves_the_global_generator_alone(draw: str) -> None:
    before = torch.get_rng_state()
    drawn(draw, Streams(7, "noise", IDS))
    assert torch.equal(torch.get_rng_state(), before)

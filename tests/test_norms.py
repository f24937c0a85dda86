"""Balls in Linf and L2: lengths, projections and steepest directions, per image."""

import pytest
import torch

from pytest_robustness.norms import length, project, steepest
from pytest_robustness.types import Norm

norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def image(*values: float) -> torch.Tensor:
    """One image of one row and one channel."""
    return torch.tensor(values).reshape(1, 1, 1, -1)


def differences(n: int = 32, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal differences whose sizes run over four orders of magnitude."""
    numbers = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return numbers * torch.logspace(-2, 2, n, dtype=dtype).reshape(-1, 1, 1, 1)


def test_the_length_is_the_largest_entry_in_linf_and_the_euclidean_one_in_l2() -> None:
    assert length(image(3.0, -4.0), "linf").tolist() == [4.0]
    assert length(image(3.0, -4.0), "l2").tolist() == [5.0]


@norms
def test_lengths_are_per_image_over_channels_rows_and_columns(norm: Norm) -> None:
    lengths = length(torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2), -2 * torch.ones(3, 2, 2)]), norm)
    assert lengths.tolist() == pytest.approx([0.0, 1.0, 2.0] if norm == "linf" else [0.0, 12**0.5, 2 * 12**0.5])


def test_projection_cuts_each_entry_in_linf_and_shortens_the_whole_in_l2() -> None:
    assert torch.equal(project(image(3.0, -4.0, 0.5), "linf", torch.tensor([1.0])), image(1.0, -1.0, 0.5))
    assert torch.allclose(project(image(3.0, -4.0), "l2", torch.tensor([1.0])), image(0.6, -0.8))


@norms
def test_each_image_has_its_own_radius(norm: Norm) -> None:
    deltas = torch.cat([image(3.0, -4.0)] * 3)
    radii = torch.tensor([0.0, 2.5, 100.0])
    expected = [image(0.0, 0.0), image(2.5, -2.5) if norm == "linf" else image(1.5, -2.0), image(3.0, -4.0)]
    assert torch.allclose(project(deltas, norm, radii), torch.cat(expected))


@norms
def test_a_difference_inside_the_ball_stays_to_the_bit(norm: Norm) -> None:
    deltas = differences()
    assert torch.equal(project(deltas, norm, length(deltas, norm) * 1.001), deltas)


@norms
def test_zero_stays_zero_whatever_the_radius(norm: Norm) -> None:
    zero = torch.zeros(3, 3, 2, 2)
    assert torch.equal(project(zero, norm, torch.tensor([0.0, 0.1, 1.0])), zero)


@norms
@pytest.mark.parametrize("radius", [0.0, 1e-6, 1 / 255, 0.5, 3.0])
def test_a_projection_is_never_longer_than_the_radius_and_projecting_again_changes_nothing(
    norm: Norm, radius: float
) -> None:
    radii = torch.full((32,), radius)
    once = project(differences(), norm, radii)
    assert (length(once, norm) <= radii * (1 + 1e-6)).all()
    assert torch.allclose(project(once, norm, radii), once, rtol=1e-6, atol=0)


@norms
def test_the_projection_is_the_nearest_point_of_the_ball(norm: Norm) -> None:
    """No other point of the ball is nearer, in the Euclidean sense, than the one returned."""
    deltas, radii = differences(dtype=torch.float64), torch.full((32,), 0.7, dtype=torch.float64)
    nearest = length(deltas - project(deltas, norm, radii), "l2")
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        others = project(
            project(deltas, norm, radii) + 0.3 * torch.randn(deltas.shape, generator=generator, dtype=torch.float64),
            norm,
            radii,
        )
        assert (length(deltas - others, "l2") >= nearest - 1e-12).all()


def test_the_steepest_direction_is_the_sign_in_linf_and_the_normalised_gradient_in_l2() -> None:
    assert torch.equal(steepest(image(3.0, -4.0, 0.0), "linf"), image(1.0, -1.0, 0.0))
    assert torch.allclose(steepest(image(3.0, -4.0, 0.0), "l2"), image(0.6, -0.8, 0.0))


@norms
def test_the_steepest_direction_has_length_1_and_attains_the_dual_norm(norm: Norm) -> None:
    """Hoelder: over the unit ball a linear function rises by the dual norm of its gradient, L1 for Linf, L2 for L2."""
    gradients = differences(dtype=torch.float64)
    directions = steepest(gradients, norm)
    assert torch.allclose(length(directions, norm), torch.ones(32, dtype=torch.float64))
    dual = gradients.flatten(1).norm(p=1 if norm == "linf" else 2, dim=1)
    assert torch.allclose((gradients * directions).flatten(1).sum(1), dual)


@norms
@pytest.mark.parametrize("size", [1e-3, 1e-12, 1e-30, 1e-37, 1e-44, 1e30])
def test_a_gradient_of_any_size_keeps_its_direction(norm: Norm, size: float) -> None:
    directions = steepest(image(size, -size, size, -size), norm)
    entry = 1.0 if norm == "linf" else 0.5
    assert torch.allclose(directions, image(entry, -entry, entry, -entry))


@norms
def test_a_zero_gradient_has_no_direction(norm: Norm) -> None:
    directions = steepest(torch.cat([image(0.0, 0.0), image(0.0, 1e-30)]), norm)
    assert torch.equal(directions, torch.cat([image(0.0, 0.0), image(0.0, 1.0)]))


@norms
def test_an_image_fares_the_same_alone_and_in_company(norm: Norm) -> None:
    deltas, radii = differences(8), torch.linspace(0, 2, 8)
    together = [length(deltas, norm), project(deltas, norm, radii), steepest(deltas, norm)]
    for row in range(8):
        one = slice(row, row + 1)
        alone = [length(deltas[one], norm), project(deltas[one], norm, radii[one]), steepest(deltas[one], norm)]
        for whole, part in zip(together, alone, strict=True):
            assert torch.allclose(whole[one], part, rtol=1e-6, atol=0)

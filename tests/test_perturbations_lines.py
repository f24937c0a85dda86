"""Products with matrices of a short reach, band by band, beside the whole products."""

import pytest
import torch

from pytest_robustness.perturbations.lines import filtered


def banded(n: int, size: int, reach: int) -> torch.Tensor:
    """Random matrices (n, size, size) that are zero farther than `reach` from the diagonal."""
    weights = torch.rand(n, size, size, generator=torch.Generator().manual_seed(size))
    places = torch.arange(size)
    return weights * ((places.unsqueeze(1) - places).abs() <= reach)


@pytest.mark.parametrize("reach", [0, 1, 31, 33, 500])
@pytest.mark.parametrize("size", [(1, 1), (5, 70), (32, 64), (65, 33), (100, 1)], ids=str)
def test_bands_leave_out_nothing_but_zeros(size: tuple[int, int], reach: int) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    down, across = (banded(2, side, reach) for side in size)
    expected = torch.einsum("nij,ncjk,nlk->ncil", down.double(), images.double(), across.double())
    found = filtered(images, down, across, reach=reach)
    assert torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous()

"""How much worse a classifier gets under the common corruptions, in units of AlexNet: mCE and relative mCE.

Errors are shares in [0, 1], 1 - top-1 accuracy; so are the results, in which 1.0 is as bad as AlexNet. Papers print 100
times that.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pytest_robustness.errors import InputError

__all__ = ["ALEXNET", "ALEXNET_CLEAN", "CATEGORIES", "mean_corruption_error", "relative_mean_corruption_error"]

ALEXNET: Final[Mapping[str, float]] = MappingProxyType(
    {
        "gaussian_noise": 0.886428,
        "shot_noise": 0.894468,
        "impulse_noise": 0.92264,
        "defocus_blur": 0.81988,
        "glass_blur": 0.826268,
        "motion_blur": 0.785948,
        "zoom_blur": 0.79836,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.71784,
        "jpeg_compression": 0.6065,
    }
)
"""The mean error of AlexNet over the five severities of each corruption of ImageNet-C, as published with the set."""

ALEXNET_CLEAN: Final = 0.435
"""The error of AlexNet on clean images (Hendrycks and Dietterich 2019, table 1)."""

CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
        "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
        "weather": ("snow", "frost", "fog", "brightness", "spatter"),
        "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
    }
)
"""The common corruptions and the four more, in the paper's categories."""

_SEVERITIES = 5


def mean_corruption_error(errors: Mapping[str, Sequence[float]], *, normalizer: Mapping[str, float] = ALEXNET) -> float:
    """The mean over the corruptions of CE = (sum over s of E(s)) / (sum over s of E_AlexNet(s)).

    `errors` holds, for every corruption of the normalizer and no other, the errors at severities 1, 2, 3, 4 and 5;
    `normalizer` the mean error of the classifier that counts as 1 (Hendrycks and Dietterich 2019, section 4.2).

    Raises InputError where a corruption or a severity is missing, or an error is no share.
    """
    means = _means(errors, normalizer)
    return _mean([means[name] / normalizer[name] for name in normalizer])


def relative_mean_corruption_error(
    errors: Mapping[str, Sequence[float]],
    clean_error: float,
    *,
    normalizer: Mapping[str, float] = ALEXNET,
    clean_normalizer: float = ALEXNET_CLEAN,
) -> float:
    """The mean over the corruptions of (sum over s of E(s) - E_clean) / (the same of AlexNet): what corruption adds.

    As `mean_corruption_error`, with the errors on clean images taken away first. A classifier that is bad when clean does
    well here.

    Raises InputError as `mean_corruption_error` does.
    """
    means = _means(errors, normalizer)
    _check_share(clean_error, "clean images")
    return _mean([(means[name] - clean_error) / (normalizer[name] - clean_normalizer) for name in normalizer])


def _means(errors: Mapping[str, Sequence[float]], normalizer: Mapping[str, float]) -> dict[str, float]:
    """The mean error of each corruption of the normalizer over the severities."""
    missing = [name for name in normalizer if name not in errors]
    if missing:
        raise InputError(
            f"expected errors under {len(normalizer)} corruptions, got none under {', '.join(missing)}; "
            "evaluate it at severities 1 to 5"
        )
    others = [name for name in errors if name not in normalizer]
    if others:
        raise InputError(
            f"expected errors under the {len(normalizer)} corruptions of the normalizer, got {', '.join(others)} as well; "
            "leave it out"
        )
    for name in normalizer:
        if len(errors[name]) != _SEVERITIES:
            raise InputError(
                f"{name}: expected {_SEVERITIES} errors, at severities 1 to {_SEVERITIES}, got {len(errors[name])}; "
                "evaluate the others too"
            )
        for severity, error in enumerate(errors[name], start=1):
            _check_share(error, f"{name} at severity {severity}")
    return {name: _mean(errors[name]) for name in normalizer}


def _check_share(error: float, where: str) -> None:
    # A comparison that NaN fails.
    if not 0 <= error <= 1:
        raise InputError(f"{where}: expected an error as a share in [0, 1], got {error!r}; divide percents by 100")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

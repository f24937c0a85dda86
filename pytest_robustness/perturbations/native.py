"""A perturbation of the files, before they are resized to what the model sees."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pytest_robustness.cases import case_of
from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Images, Perturbation, Strengths, fits

__all__ = ["BeforeResize"]


@dataclass(frozen=True, repr=False)
class BeforeResize:
    """The perturbation put to each image at its file's own size, clamped to [0, 1], and then resized and cropped as the set is.

    Noise that enters there is averaged away where the image shrinks: the same sigma is a weaker stress than behind the resize.
    Nothing is rounded to 8 bits in between. Raises InputError for what is no perturbation.
    """

    perturbation: Perturbation

    def __post_init__(self) -> None:
        if fits(self.perturbation, Attack) or isinstance(self.perturbation, BeforeResize):
            raise InputError(
                f"BeforeResize: expected a perturbation such as GaussianNoise(), got {self.perturbation!r}"
            )
        case_of(self.perturbation, 0.0, None)

    def __repr__(self) -> str:
        return f"BeforeResize({self.perturbation!r})"

    @property
    def unit(self) -> str:
        return self.perturbation.unit

    @property
    def limit(self) -> float:
        return self.perturbation.limit

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        raise InputError(
            f"{self!r}: expected to be put to the images of an image set, not to a part of a chain; chain inside of it, as in "
            "BeforeResize(then(...))"
        )

    def made(
        self,
        images: Images,
        strengths: Strengths,
        streams: Streams,
        *,
        native: Callable[[str], torch.Tensor],
        fitted: Callable[[torch.Tensor], torch.Tensor],
    ) -> Images:
        """The perturbed images, like `images`, at their strengths; at strength 0 they are themselves.

        `native` gives the pixels of a file by the image's id, (3, h, w) float32 in [0, 1], and `fitted` brings such to the set's size.
        """
        made = []
        for row, image_id in enumerate(streams.ids):
            if strengths[row] == 0:
                made.append(images[row])
                continue
            whole = native(image_id).to(images.device).unsqueeze(0)
            perturbed = self.perturbation(whole, strengths[row : row + 1], streams.select([row])).clamp(0, 1)
            made.append(fitted(perturbed[0]).to(images.device))
        return torch.stack(made)

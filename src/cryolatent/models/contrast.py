"""The contrast of particles: a number per particle that multiplies all that is expected of it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Contrast:
    """A normal prior of the particles' contrast about one.

    Args:
        spread: Standard deviation; 0 fixes the contrast at one.
    """

    spread: float = 0.0

    def scaled(self, gram: Float[Tensor, "*n"], inner: Float[Tensor, "*n"]) -> "Scaled":
        """How well an expected observation explains an image at its unknown contrast.

        The log density ``a y - ½ a² G`` is quadratic in the contrast a, which is integrated out in
        closed form.

        Args:
            gram: G, the expected observation's weighted power.
            inner: y, its weighted inner product with the image.

        Returns:
            The contrast's posterior, and the evidence.
        """
        variance = self.spread**2
        shrink, lack = 1 + variance * gram, inner - gram
        evidence = inner - 0.5 * gram + 0.5 * (variance * lack.square() / shrink - shrink.log())
        return Scaled(evidence, 1 + variance * lack / shrink, variance / shrink)


@dataclass(frozen=True)
class Scaled:
    """An expected observation at an unknown contrast.

    Args:
        gain: Log evidence of the image, relative to an empty image's.
        mean: Posterior mean of the contrast.
        variance: Its posterior variance.
    """

    gain: Float[Tensor, "*n"]
    mean: Float[Tensor, "*n"]
    variance: Float[Tensor, "*n"]


ONE = Contrast()

"""The contract of posteriors over what a linear model weights its components by."""

from abc import abstractmethod
from typing import ClassVar

from jaxtyping import Complex, Float, Int
from torch import Tensor

from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.exact import Moments


class CoefficientPosterior:
    """The posterior of the coefficients ζ of components, from the components' inner products."""

    independent: ClassVar[bool]
    """Whether an image holds one component only, so that products of different ones vanish."""

    log_weights: Float[Tensor, " k"]
    """Logarithms of the components' prior probabilities, where `independent`."""

    @abstractmethod
    def moments(
        self,
        gram: Float[Tensor, "n p"],
        inner: Float[Tensor, "n c"],
        contrast: Contrast = ONE,
        gain: Float[Tensor, "n t"] | None = None,
    ) -> Moments:
        """The posterior of each particle, averaged over its contrast.

        Args:
            gram: Packed ``2 Re(gᴴ Σ⁻¹ g)``: lower triangles, or diagonals where `independent`.
            inner: ``2 Re(gᴴ Σ⁻¹ x)``.
            contrast: Prior of the contrast.
            gain: Further log evidence, of each volume or of all; nothing if left out.

        Returns:
            Moments; `Moments.second` unpacked.
        """

    @abstractmethod
    def packed(self, products: Float[Tensor, "n *c"]) -> Float[Tensor, "n p"]:
        """Pack products of components as `moments` and the normal equations want them.

        Args:
            products: Matrices, or diagonals where `independent`.

        Returns:
            Lower triangles, or diagonals.
        """

    @abstractmethod
    def bases(self, values: Complex[Tensor, "v c"]) -> Complex[Tensor, "v t"]:
        """Volumes whose derivatives by pose serve the components: one for all, or all.

        Args:
            values: The components at a lattice's voxels.

        Returns:
            Values of the bases.
        """

    @abstractmethod
    def drawn(
        self, found: Moments, normal: Float[Tensor, "n w"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n t m"]]:
        """Draw a base, a contrast and coefficients.

        Args:
            found: The posterior.
            normal: Standard normal numbers: one for the contrast, and as many as there are latent
                dimensions.

        Returns:
            Which base; the contrast; and the coefficients under each base, the contrast included,
            of which those of the drawn base are drawn.
        """

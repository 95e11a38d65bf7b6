"""Poses integrated out, to first order: what is left is quadratic in the components again.

An image at contrast a is explained by ``g β + h η``, β = a ζ the components' coefficients and
η = a ω the five errors of its pose times the contrast, under the prior that the errors are normal
about the *recorded* pose. Given a, β and η are jointly normal; the log density with η integrated
out is ``y' β - ½ βᵀ G' β`` and a constant, with Schur complements y' and G'.

There is one base, the mean volume, whose derivatives h serve all components; or every component is
a base with derivatives of its own, and an image shows one of them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.physics import PerturbedProducts, pack

LEAST_CONTRAST = 0.1
"""Contrast about which is expanded, at least."""


@dataclass(frozen=True)
class Marginal:
    """What an image says of its components with its pose integrated out.

    Args:
        gram: Packed quadratic term.
        inner: Linear term.
        gain: Constant term of each base, in nats.
    """

    gram: Float[Tensor, "obs p"]
    inner: Float[Tensor, "obs c"]
    gain: Float[Tensor, "obs t"]


@dataclass(frozen=True)
class UncertainPoses:
    """Images about whose poses five numbers are unknown, in units of their prior's widths.

    Args:
        products: Inner products at the poses about which is expanded.
        cross: Products of components and errors; m components belong to each base.
        own: Products of errors with each other.
        pull: Products of errors with images.
        root: Cholesky factor of the errors' posterior precision, given the components.
        right: Its right-hand side where the components are zero.
        centre: Prior means: minus what the poses were moved by.
    """

    products: PerturbedProducts
    cross: Float[Tensor, "obs t m 5"]
    own: Float[Tensor, "obs t 5 5"]
    pull: Float[Tensor, "obs t 5"]
    root: Float[Tensor, "obs t 5 5"]
    right: Float[Tensor, "obs t 5"]
    centre: Float[Tensor, "obs 5"]

    @staticmethod
    def of(
        products: PerturbedProducts,
        deviations: Float[Tensor, "*obs 5"],
        moved: Float[Tensor, "obs 5"],
        contrast: Float[Tensor, " obs"],
    ) -> "UncertainPoses":
        """Put products and prior together.

        Args:
            products: Inner products about the poses as they were moved.
            deviations: Prior standard deviations of three turns in radians and two shifts in
                pixels, of all or of each; 0 for what is known.
            moved: How far the poses are from the recorded ones.
            contrast: Contrast about which is expanded: the error's effect is proportional to it.

        Returns:
            The images.
        """
        scale = (deviations * contrast.clamp(min=LEAST_CONTRAST)[:, None])[:, None]
        centre = torch.where(deviations > 0, -moved / deviations.clamp(min=1e-9), 0.0)
        own = products.own * scale[..., None] * scale[..., None, :]
        root = torch.linalg.cholesky(own + torch.eye(own.shape[-1], device=own.device))
        pull = products.pull * scale
        bases = products.own.shape[1]
        cross = (products.cross * scale).unflatten(1, (bases, -1))
        return UncertainPoses(products, cross, own, pull, root, pull + centre[:, None], centre)

    def marginal(self, *, independent: bool) -> Marginal:
        """Integrate the errors out.

        Args:
            independent: Whether an image holds one component only.

        Returns:
            Terms of the components.
        """
        half = _solved(self.root, self.right[..., None])[..., 0]
        slopes = _solved(self.root, self.cross.mT)
        products = self.products
        if independent:
            taken = slopes.square().sum(2).flatten(1)
        else:
            taken = pack((slopes.mT @ slopes)[:, 0])
        inner = products.inner - (slopes * half[..., None]).sum(2).flatten(1)
        gain = 0.5 * (half.square() - self.centre[:, None].square()).sum(-1)
        gain = gain - self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return Marginal(products.gram - taken, inner, gain)

    def errors(self, beta: Float[Tensor, "obs t m"]) -> Float[Tensor, "obs t 5"]:
        """Mean errors given the components' coefficients.

        Args:
            beta: Coefficients under each base, the contrast included.

        Returns:
            Errors in units of their prior's width, from where the poses are now.
        """
        right = self.right - torch.einsum("ntme,ntm->nte", self.cross, beta)
        return torch.cholesky_solve(right[..., None], self.root)[..., 0]

    def drawn(
        self,
        beta: Float[Tensor, "obs t m"],
        base: Int[Tensor, " obs"],
        normal: Float[Tensor, "obs 5"],
    ) -> Float[Tensor, "obs 5"]:
        """Draw errors given the components' coefficients.

        Args:
            beta: Coefficients under each base, the contrast included.
            base: Which base an image is drawn under.
            normal: Standard normal numbers.

        Returns:
            Errors in units of their prior's width.
        """
        rows = torch.arange(len(base), device=base.device)
        root, mean = self.root[rows, base], self.errors(beta)[rows, base]
        spread = torch.linalg.solve_triangular(root.mT, normal[..., None], upper=True)
        return mean + spread[..., 0]

    def given(self, errors: Float[Tensor, "obs 5"]) -> Marginal:
        """What an image says of its components if the errors are known.

        Args:
            errors: In units of their prior's width.

        Returns:
            Terms of the components.
        """
        taken = torch.einsum("ntme,ne->ntm", self.cross, errors).flatten(1)
        bend = torch.einsum("nted,ne,nd->nt", self.own, errors, errors)
        gain = torch.einsum("nte,ne->nt", self.pull, errors) - 0.5 * bend
        return Marginal(self.products.gram, self.products.inner - taken, gain)

    def covariance(self, beta: Float[Tensor, "obs t m m"]) -> Float[Tensor, "obs t 5 5"]:
        """Posterior covariance of the errors.

        Args:
            beta: Posterior covariance of the components' coefficients under each base.

        Returns:
            In units of the prior's widths.
        """
        known = torch.cholesky_inverse(self.root)
        lever = known @ self.cross.mT
        return known + lever @ beta @ lever.mT


def _solved(root: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(root, right, upper=False)

"""What images say of their particles under given volumes, whatever is doubted of the images.

One expectation step for everything that asks: expectation maximisation, choices, `infer`.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.coefficients import CoefficientPosterior
from cryolatent.models.exact import Moments
from cryolatent.models.nuisances import FOUND, TRUSTED, Nuisances, junk_gains
from cryolatent.models.uncertain import Marginal, UncertainPoses
from cryolatent.physics import (
    SHIFTS,
    TURNS,
    FourierLattice,
    PerturbedProducts,
    composed,
    perturbed_products,
    slice_products,
    tangents,
)

ERRORS = 5
"""Numbers in a pose's error: three turns and two shifts."""


@dataclass(frozen=True)
class Compared:
    """Inner products of images with slices, from which every prior makes its posterior.

    Args:
        part: The images, at the poses about which is expanded.
        moved: How far those are from the recorded ones: turns in radians and shifts in pixels, in
            the images' frames.
        products: Of components, their derivatives and the images; of derivatives nothing where
            poses are trusted.
        empty: Log density of the images without any particle.
        shapeless: Log evidence of something without structure, relative to `empty`; None where
            every image is believed to show a particle.
    """

    part: FilteredImages
    moved: Float[Tensor, "obs 5"]
    products: PerturbedProducts | Marginal
    empty: Float[Tensor, " n"]
    shapeless: Float[Tensor, " n"] | None

    def every(self, stride: int) -> "Compared":
        """Some of the particles.

        Args:
            stride: One of so many.

        Returns:
            Their products.
        """
        if stride == 1:
            return self
        part, products = self.part, self.products
        rows = torch.nonzero(part.owner % stride == 0)[:, 0]
        owner = torch.div(part.owner[rows], stride, rounding_mode="floor")
        few = replace(
            part,
            index=part.index[::stride],
            owner=owner,
            images=part.images[rows],
            weights=part.weights[rows],
            power=part.power[rows],
            rotations=part.rotations[rows],
            rows=part.rows[rows],
            placing=None if part.placing is None else part.placing.at(rows),
        )
        taken = type(products)(*(getattr(products, f.name)[rows] for f in fields(products)))
        shapeless = None if self.shapeless is None else self.shapeless[::stride]
        return Compared(few, self.moved[rows], taken, self.empty[::stride], shapeless)


@dataclass(frozen=True)
class Hypothesis:
    """Volumes, noise and priors under which images are explained.

    Args:
        lattice: Where slices are taken.
        values: The components at the lattice's voxels.
        noise: Noise variance of shells 0 to ``disc.radius``.
        posterior: What z is.
        nuisances: What is doubted of the images.
    """

    lattice: FourierLattice
    values: Complex[Tensor, "v c"]
    noise: Float[Tensor, " shells"]
    posterior: CoefficientPosterior
    nuisances: Nuisances = TRUSTED

    @cached_property
    def tangent(self) -> Complex[Tensor, "v t4"]:
        """The volumes that are turned and shifted, and their derivatives."""
        return tangents(self.posterior.bases(self.values), self.lattice)

    @cached_property
    def deviations(self) -> Float[Tensor, " 5"]:
        """Prior widths of the errors of recorded poses."""
        return self.noise.new_tensor(self.nuisances.poses.deviations)

    def widths(self, part: FilteredImages) -> Float[Tensor, "*obs 5"]:
        """Prior widths of the errors of images' poses.

        Args:
            part: The images.

        Returns:
            One row for all, or for each where some were placed elsewhere than recorded.
        """
        if part.placing is None:
            return self.deviations
        found = self.noise.new_tensor(FOUND.deviations)
        return torch.where(part.placing.lost[:, None], found, self.deviations)

    def within(self, shells: int) -> "Hypothesis":
        """The same volumes at fewer shells.

        Args:
            shells: Last shell; more than there are changes nothing.

        Returns:
            The hypothesis.
        """
        if shells >= self.lattice.disc.radius:
            return self
        lattice = self.lattice
        smaller = FourierLattice(lattice.disc.within(shells), lattice.oversampling)
        values, noise = lattice.cropped(self.values, smaller), self.noise[: shells + 1]
        return replace(self, lattice=smaller, values=values, noise=noise)

    def compare(
        self, part: FilteredImages, moved: Float[Tensor, "obs 5"] | None = None
    ) -> Compared:
        """Take inner products.

        Args:
            part: Images at the recorded poses.
            moved: How far from there is expanded; not at all if left out.

        Returns:
            Products.
        """
        doubted, disc = bool(self.nuisances.poses), self.lattice.disc
        if moved is None or not doubted:
            moved = self.noise.new_zeros(len(part.images), ERRORS)
        else:
            part = part.moved(moved[:, TURNS], moved[:, SHIFTS], disc)
        gains = 2 / self.noise[disc.shells]
        given = part.images, part.weights, gains, part.rotations, self.lattice
        independent = self.posterior.independent
        if doubted:
            products = perturbed_products(
                self.values, self.tangent, *given, independent=independent
            )
        else:
            gram, inner = slice_products(self.values, *given, independent=independent)
            products = Marginal(gram, inner, inner.new_zeros(len(inner), 1))
        return Compared(part, moved, products, self.empty(part), self._shapeless(part))

    def judge(self, compared: Compared, contrast: Float[Tensor, " n"] | None = None) -> "Explained":
        """The posterior of some particles.

        Args:
            compared: From `compare`, under the same volumes and noise.
            contrast: Contrast about which is expanded; one if left out.

        Returns:
            What is found.
        """
        part, products, poses = compared.part, compared.products, None
        if isinstance(products, PerturbedProducts):
            about = self.noise.new_ones(len(part)) if contrast is None else contrast
            widths = self.widths(part)
            poses = UncertainPoses.of(products, widths, compared.moved, about[part.owner])
            products = poses.marginal(independent=self.posterior.independent)
        rows = (products.gram, products.inner, products.gain)
        terms = Marginal(*map(part.by_particle, rows))
        contrasts = self.nuisances.contrast
        q = self.posterior.moments(terms.gram, terms.inner, contrasts, terms.gain)
        kinds = (q.gain + part.log_prior)[:, None]
        if compared.shapeless is not None:
            others = compared.shapeless, torch.zeros_like(compared.shapeless)
            odds = kinds.new_tensor(self.nuisances.log_odds)
            kinds = torch.cat([kinds, torch.stack(others, dim=-1)], dim=-1) + odds
        return Explained(self, compared, poses, terms, q, kinds)

    def explain(
        self,
        part: FilteredImages,
        moved: Float[Tensor, "obs 5"] | None = None,
        contrast: Float[Tensor, " n"] | None = None,
    ) -> "Explained":
        """`compare` and `judge`."""
        return self.judge(self.compare(part, moved), contrast)

    def under(self, nuisances: Nuisances) -> "Hypothesis":
        """The same volumes under other priors.

        Args:
            nuisances: What is doubted of the images.

        Returns:
            The hypothesis.
        """
        return replace(self, nuisances=nuisances)

    def empty(self, part: FilteredImages) -> Float[Tensor, " n"]:
        """Log density of images without any particle.

        Args:
            part: The images.

        Returns:
            Nats, of each particle.
        """
        count, noise = self.lattice.disc.shell_count()[1:], self.noise[1:]
        normaliser = (count * torch.log(torch.pi * noise)).sum()
        return part.by_particle(-(part.power / noise).sum(-1) - normaliser)

    def _shapeless(self, part: FilteredImages) -> Float[Tensor, " n"] | None:
        if self.nuisances.junk_spectrum is None:
            return None
        shells = self.lattice.disc.shells
        spectrum = self.nuisances.junk_spectrum.to(self.noise)[shells]
        return part.by_particle(
            junk_gains(part.filtered_power(), part.weights, self.noise[shells], spectrum)
        )


@dataclass(frozen=True)
class Explained:
    """What some images say of their particles.

    Args:
        by: Under which hypothesis.
        compared: From which products.
        poses: What is known of the poses' errors; None where poses are trusted.
        terms: Each particle's quadratic form in the components, poses integrated out.
        moments: The posterior of particles that are particles.
        kinds: Log joint density with each kind of particle, relative to an empty image's.
    """

    by: Hypothesis
    compared: Compared
    poses: UncertainPoses | None
    terms: Marginal
    moments: Moments
    kinds: Float[Tensor, "n kinds"]

    @property
    def part(self) -> FilteredImages:
        """The images, at the poses about which is expanded."""
        return self.compared.part

    @cached_property
    def evidence(self) -> Float[Tensor, " n"]:
        """Log evidence, all kinds considered."""
        return self.compared.empty + self.kinds.logsumexp(-1)

    @cached_property
    def shares(self) -> Float[Tensor, "n kinds"]:
        """Probability of each kind."""
        return self.kinds.softmax(-1)

    @property
    def share(self) -> Float[Tensor, " n"]:
        """Probability that a particle is one."""
        return self.shares[:, 0]

    @property
    def rival(self) -> Float[Tensor, " n"]:
        """What the other kinds hold against the particle's: added odds included, in nats."""
        if self.kinds.shape[1] == 1:
            return torch.full_like(self.kinds[:, 0], -torch.inf)
        odds = self.by.nuisances.log_odds[0] + self.part.log_prior
        return self.kinds[:, 1:].logsumexp(-1) - odds

    @cached_property
    def errors(self) -> tuple[Float[Tensor, "obs 5"], Float[Tensor, "obs 5 5"]]:
        """Posterior of the errors about where the poses are: means and covariances.

        In radians and pixels; zeros where poses are trusted.
        """
        scale, moved = self.by.widths(self.part), self.compared.moved
        if self.poses is None:
            return torch.zeros_like(moved), moved.new_zeros(len(moved), ERRORS, ERRORS)
        owner, (first, spread) = self.part.owner, self.moments.given
        share = self.moments.bases[owner]
        each = self.poses.errors(first[owner])
        mean = torch.einsum("nt,nte->ne", share, each)
        off = each - mean[:, None]
        within = self.poses.covariance(spread[owner]) + off[..., None] * off[..., None, :]
        covariance = torch.einsum("nt,nted->ned", share, within)
        return mean * scale, covariance * scale[..., :, None] * scale[..., None, :]

    def best(self) -> Float[Tensor, "obs 5"]:
        """How far the most probable poses are from where images lie: a Gauss-Newton step."""
        if self.poses is None:
            return self.compared.moved
        return moved_on(self.compared.moved, self.errors[0])

    def from_recorded(self, moved: Float[Tensor, "obs 5"]) -> Float[Tensor, "obs 5"]:
        """Moves counted from the recorded poses.

        Args:
            moved: Counted from where the images were placed.

        Returns:
            The same where they were not.
        """
        placing = self.part.placing
        return moved if placing is None else moved_on(placing.moves, moved)

    def insertion(
        self,
        normal: Float[Tensor, "n w"] | None = None,
        errors: Float[Tensor, "obs 5"] | None = None,
    ) -> tuple[FilteredImages, Float[Tensor, "n c"], Float[Tensor, "n *c"]]:
        """Where images belong in a reconstruction: at one draw of their poses.

        Images inserted at their most probable pose would sharpen what noise aligned. The
        components' moments are conditional on the draw.

        Args:
            normal: Standard normal numbers, for draws of contrast and latent; needed, as the next,
                where poses are doubted.
            errors: Standard normal numbers, for draws of the errors.

        Returns:
            The images, and first and second moments of the components' coefficients, times the
            probability that a particle is one.
        """
        q, share, part, posterior = self.moments, self.share, self.part, self.by.posterior
        if self.poses is None or normal is None or errors is None:
            return part, share[:, None] * q.first, _scaled(q.second, share)
        base, a, beta = posterior.drawn(q, normal)
        drawn = self.poses.drawn(beta[part.owner], base[part.owner], errors)
        known = self.poses.given(drawn)
        gram, inner, gain = map(part.by_particle, (known.gram, known.inner, known.gain))
        given = posterior.moments(gram * a.square()[:, None], inner * a[:, None], gain=gain)
        move = drawn * self.by.widths(part)
        there = part.moved(move[:, TURNS], move[:, SHIFTS], self.by.lattice.disc)
        weight = share * a
        return there, weight[:, None] * given.first, _scaled(given.second, weight * a)


def moved_on(moved: Float[Tensor, "obs 5"], step: Float[Tensor, "obs 5"]) -> Float[Tensor, "obs 5"]:
    """Two moves of poses, one after the other.

    Args:
        moved: The first: turns and shifts in the images' frames.
        step: What follows.

    Returns:
        The move that both make.
    """
    turns = composed(moved[:, TURNS], step[:, TURNS])
    return torch.cat([turns, moved[:, SHIFTS] + step[:, SHIFTS]], dim=1)


def _scaled(products: Float[Tensor, "n *c"], factor: Float[Tensor, " n"]) -> Tensor:
    return products * factor.view(-1, *[1] * (products.ndim - 1))

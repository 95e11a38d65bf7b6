"""Exact posteriors of poses over a grid of orientations and displacements, the latent integrated.

Slices at all orientations are made once and compared with many images as matrix products: moving an
image multiplies it by phases and leaves the slices' products alone. A half turn in the image's
plane conjugates a slice, so that two real products serve two orientations.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.physics import (
    FourierDisc,
    Interpolation,
    OrientationGrid,
    shift_grid,
    shift_phases,
    slice_lattice,
)

AT_ONCE = 2**23
"""Poses times images that are compared at once."""

STEP_PER_RESOLUTION = 0.25
"""Distance of neighbouring displacements over the resolution."""

REACH, LEAST_REACH = 2.5, 1.2
"""Largest displacement, in standard deviations; and at least, in steps."""


@dataclass(frozen=True)
class PoseGrid:
    """Poses that are tried, with a prior.

    Args:
        orientations: Uniform over all, each as probable as another.
        shifts: Displacements (x, y) about the recorded ones, in pixels.
        shift_deviation: Standard deviation of their normal prior along an axis, in pixels.
        turn_deviation: Standard deviation, in radians, of a normal prior of the turn about the
            recorded rotation; None if rotations are not recorded.
    """

    orientations: OrientationGrid
    shifts: Float[Tensor, "s 2"]
    shift_deviation: float
    turn_deviation: float | None = None

    @staticmethod
    def of(
        spacing_degrees: float, reach_pixels: float, step_pixels: float, shift_deviation: float
    ) -> "PoseGrid":
        """A grid without recorded rotations.

        Args:
            spacing_degrees: Distance of neighbouring orientations.
            reach_pixels: Largest displacement.
            step_pixels: Distance of neighbouring displacements.
            shift_deviation: Width of their prior.

        Returns:
            The grid.
        """
        shifts = shift_grid(reach_pixels, step_pixels)
        return PoseGrid(OrientationGrid(spacing_degrees), shifts, shift_deviation)

    @staticmethod
    def resolving(disc: FourierDisc, spacing_degrees: float, shift_deviation: float) -> "PoseGrid":
        """Displacements as far apart as a disc's coefficients ask.

        Args:
            disc: The coefficients.
            spacing_degrees: Distance of neighbouring orientations.
            shift_deviation: Width of the displacements' prior, in pixels.

        Returns:
            The grid.
        """
        step = STEP_PER_RESOLUTION * disc.box / disc.radius
        reach = max(REACH * shift_deviation, LEAST_REACH * step)
        return PoseGrid.of(spacing_degrees, reach, step, shift_deviation)

    def __len__(self) -> int:
        return len(self.orientations) * len(self.shifts)

    @cached_property
    def shift_step(self) -> float:
        """Distance of neighbouring displacements, in pixels; 0 where there is one only."""
        across = self.shifts[:, 0].unique()
        return float(across.diff().min()) if len(across) > 1 else 0.0

    def log_shift_prior(self) -> Float[Tensor, " s"]:
        """Logarithms of the displacements' prior probabilities."""
        return (-0.5 * (self.shifts / self.shift_deviation).square().sum(-1)).log_softmax(0)

    def log_turn_prior(self, rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 2 o"]:
        """Logarithms of the orientations' prior probabilities.

        Args:
            rotations: Recorded rotations.

        Returns:
            For each image; half turns along the second axis.
        """
        grid = self.orientations.rotations.to(rotations)
        if self.turn_deviation is None:
            uniform = -torch.tensor(float(2 * len(grid))).log()
            return rotations.new_full((len(rotations), 2, len(grid)), float(uniform))
        rows = torch.einsum("nij,oij->nio", rotations, grid)
        plane, view = rows[:, :2].sum(1), rows[:, 2]
        cosine = (torch.stack([view + plane, view - plane], dim=1) - 1) / 2
        angle = cosine.clamp(-1, 1).acos()
        log_prior = -0.5 * (angle / self.turn_deviation).square()
        return log_prior.flatten(1).log_softmax(-1).view_as(log_prior)


@dataclass(frozen=True)
class Candidates:
    """The most probable orientations of each image.

    Args:
        rotations: Rotations R.
        shifts: Mean displacements (x, y) about the recorded ones under each, in pixels.
        log_weights: Logarithms of the orientations' probabilities.
        evidence: Log evidence of each particle, the whole grid integrated, in nats.
    """

    rotations: Float[Tensor, "n m 3 3"]
    shifts: Float[Tensor, "n m 2"]
    log_weights: Float[Tensor, "n m"]
    evidence: Float[Tensor, " n"]


@dataclass(frozen=True)
class GridPosterior:
    """What images say of their poses under given volumes.

    Contrasts are taken as one, and every image as that of a particle.

    Args:
        hypothesis: Volumes, noise, and the prior of z, which is integrated out in closed form.
        grid: The poses.
    """

    hypothesis: Hypothesis
    grid: PoseGrid

    @property
    def disc(self) -> FourierDisc:
        """The coefficients that are compared."""
        return self.hypothesis.lattice.disc

    @cached_property
    def gains(self) -> Float[Tensor, " k"]:
        """``2 / σ²`` of each coefficient."""
        return 2 / self.hypothesis.noise[self.disc.shells]

    @cached_property
    def slices(self) -> Complex[Tensor, "c o k"]:
        """Slices of every component at every orientation whose turn is below 180°."""
        lattice, rotations = self.hypothesis.lattice, self.grid.orientations.rotations
        rotations = rotations.to(self.gains.device)
        values = self.hypothesis.values
        slices = slice_lattice(values, rotations, lattice, Interpolation.NEAREST)
        return slices.permute(2, 0, 1).contiguous()

    @cached_property
    def phases(self) -> Complex[Tensor, "s k"]:
        """What moves images back by each displacement."""
        return shift_phases(self.disc, -self.grid.shifts.to(self.gains))

    def parts(self, part: FilteredImages) -> Iterator[FilteredImages]:
        """Divide particles among chunks whose scores fit into memory.

        Args:
            part: Particles of one image each.

        Yields:
            Some of them.

        Raises:
            ValueError: If a particle has several images: their poses are not independent.
        """
        if len(part.images) != len(part):
            raise ValueError("particles of several images")
        components = len(self.slices)
        step = max(1, AT_ONCE // (len(self.grid) * components))
        for first in range(0, len(part), step):
            yield chosen(part, slice(first, first + step))

    def moved(self, part: FilteredImages) -> tuple[Float[Tensor, "ns k"], Float[Tensor, "ns k"]]:
        """Images moved back by every displacement.

        Args:
            part: Few particles.

        Returns:
            Real and imaginary parts, displacement after displacement for each image.
        """
        moved = (part.images[:, None] * self.phases).flatten(0, 1)
        return moved.real.contiguous(), moved.imag.contiguous()

    def scores(self, part: FilteredImages) -> Float[Tensor, "n c s 2 o"]:
        """Log joint density of image, volume and pose for one of K volumes.

        Args:
            part: Few particles.

        Returns:
            Relative to an empty image's; by particle, volume, displacement, half turn, orientation.

        Raises:
            ValueError: If z is not one of K volumes.
        """
        posterior = self.hypothesis.posterior
        if not posterior.independent:
            raise ValueError("a posterior that is not over volumes")
        prior = self._log_prior(part)
        images, kinds = self.moved(part), []
        for log_weight, volume in zip(posterior.log_weights, self.slices, strict=True):
            found = self._inner(images, volume)
            power = part.weights @ (_squared(volume) * self.gains).T
            found += prior - 0.5 * power[:, None, None]
            kinds.append(found.add_(log_weight))
        return torch.stack(kinds, dim=1) if len(kinds) > 1 else kinds[0][:, None]

    def log_joint(self, part: FilteredImages) -> Float[Tensor, "n s 2 o"]:
        """Log joint density of image and pose, z integrated out.

        Args:
            part: Few particles.

        Returns:
            Relative to an empty image's; by particle, displacement, half turn, orientation.
        """
        if self.hypothesis.posterior.independent:
            scores = self.scores(part)
            return scores.logsumexp(1) if scores.shape[1] > 1 else scores[:, 0]
        images, slices = self.moved(part), self.slices
        mean, *others = (self._inner(images, component) for component in slices)
        gram = [[self._power(part, a, b) for b in slices[: n + 1]] for n, a in enumerate(slices)]
        joint = mean + self._log_prior(part) - 0.5 * gram[0][0][:, None, None]
        if others:
            first = torch.stack([row[0] for row in gram[1:]], dim=-1)
            right = torch.stack(others, dim=-1) - first[:, None, None]
            precision = _symmetric([row[1:] for row in gram[1:]])
            precision += torch.eye(len(others), device=right.device)
            joint += _integrated(precision, right)
        return joint

    def candidates(self, part: FilteredImages, most: int) -> Candidates:
        """The most probable orientations.

        Args:
            part: Particles of one image each.
            most: How many of each.

        Returns:
            Orientations, most probable first.
        """
        found = [self._candidates(few, most) for few in self.parts(part)]
        names = [field.name for field in fields(Candidates)]
        return Candidates(*(torch.cat([getattr(c, name) for c in found]) for name in names))

    def _candidates(self, part: FilteredImages, most: int) -> Candidates:
        joint = self.log_joint(part).flatten(2)
        best = joint.amax(1)
        turns = best + (joint - best[:, None]).exp_().sum(1).log_()
        evidence = turns.logsumexp(-1)
        top = turns.topk(min(most, turns.shape[-1]), dim=-1)
        among = joint.gather(2, top.indices[:, None].expand(-1, joint.shape[1], -1))
        shifts = torch.einsum("nsm,sd->nmd", among.softmax(1), self.grid.shifts.to(among))
        return Candidates(
            self.grid.orientations.at(top.indices),
            shifts,
            top.values - evidence[:, None],
            evidence + self.hypothesis.empty(part),
        )

    def _log_prior(self, part: FilteredImages) -> Float[Tensor, "n s 2 o"]:
        shifts = self.grid.log_shift_prior().to(part.weights)[:, None, None]
        return shifts + self.grid.log_turn_prior(part.rotations)[:, None]

    def _inner(
        self, images: tuple[Tensor, Tensor], slices: Complex[Tensor, "o k"]
    ) -> Float[Tensor, "n s 2 o"]:
        """``2 Re(gᴴ Σ⁻¹ x)`` of every image at every displacement, half turns included."""
        real, imaginary = (
            x @ (g * self.gains).T for x, g in zip(images, (slices.real, slices.imag), strict=True)
        )
        both = torch.stack([real + imaginary, real - imaginary], dim=1)
        return both.unflatten(0, (-1, len(self.phases)))

    def _power(
        self, part: FilteredImages, first: Complex[Tensor, "o k"], second: Complex[Tensor, "o k"]
    ) -> Float[Tensor, "n o"]:
        """``2 Re(gᴴ Σ⁻¹ h)`` of two components' slices."""
        product = first.real * second.real + first.imag * second.imag
        return part.weights @ (product * self.gains).T


def chosen(part: FilteredImages, rows: slice | Tensor) -> FilteredImages:
    """Some particles of one image each.

    Args:
        part: Particles.
        rows: Which.

    Returns:
        The same images, of particles numbered anew.
    """
    images = part.images[rows]
    return replace(
        part,
        index=part.index[rows],
        owner=torch.arange(len(images), device=images.device),
        images=images,
        weights=part.weights[rows],
        power=part.power[rows],
        rotations=part.rotations[rows],
        rows=part.rows[rows],
        placing=None if part.placing is None else part.placing.at(rows),
    )


def _integrated(
    precision: Float[Tensor, "n o j j"], right: Float[Tensor, "n s 2 o j"]
) -> Float[Tensor, "n s 2 o"]:
    """``½ rᵀ Λ⁻¹ r - ½ log |Λ|``."""
    factor = torch.linalg.cholesky(precision)
    rows = right.permute(0, 3, 4, 1, 2).flatten(3)
    solved = torch.linalg.solve_triangular(factor, rows, upper=False).square().sum(2)
    logarithm = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    found = 0.5 * solved - logarithm[..., None]
    return found.permute(0, 2, 1).unflatten(1, right.shape[1:3])


def _symmetric(rows: list[list[Float[Tensor, "n o"]]]) -> Float[Tensor, "n o j j"]:
    """Matrices of their lower triangles."""
    size = len(rows)
    entries = [rows[max(a, b)][min(a, b)] for a in range(size) for b in range(size)]
    return torch.stack(entries, dim=-1).unflatten(-1, (size, size))


def _squared(values: Tensor) -> Tensor:
    return values.real.square() + values.imag.square()

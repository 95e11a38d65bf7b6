"""The maximisation step: volumes inside a mask, under a spectral prior, by conjugate gradients."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.physics import FourierLattice, apply_normal

TOLERANCE = 1e-3


@dataclass(frozen=True)
class MaskedVolumes:
    """The space in which volumes are sought, and the prior over it.

    Volumes are real fields times a mask; `mixing` turns the fields, which are independent under the
    prior, into the components that images are explained by.

    Args:
        lattice: Where slices are taken.
        mask: Values between 0 and 1 on the lattice's field, in FFT order, for all fields or for
            each.
        prior: Prior variance of each field's Fourier coefficients, shells 0 to ``disc.radius``.
        mixing: Components from fields; orthogonal.
    """

    lattice: FourierLattice
    mask: Float[Tensor, "masks z y x"]
    prior: Float[Tensor, "shells fields"]
    mixing: Float[Tensor, "c fields"]

    @cached_property
    def precision(self) -> Float[Tensor, "v fields"]:
        """Prior precision at each voxel: an oversampled grid holds each unknown several times."""
        density = self.lattice.oversampling**3
        return 1 / (density * self.lattice.per_shell(self.prior))

    def values(self, fields: Float[Tensor, "fields z y x"]) -> Complex[Tensor, "v c"]:
        """The components at the lattice's voxels.

        Args:
            fields: Real fields in FFT order.

        Returns:
            Fourier values, to be sliced.
        """
        return self._mix(self.transform(fields))

    def transform(self, fields: Float[Tensor, "fields z y x"]) -> Complex[Tensor, "v fields"]:
        """The fields, masked, at the lattice's voxels.

        Args:
            fields: Real fields in FFT order.

        Returns:
            Fourier values.
        """
        return self.lattice.from_field(fields * self.mask) * self.lattice.inside[:, None]

    def penalty(self, fields: Float[Tensor, "fields z y x"]) -> float:
        """Minus the log prior density of fields, but for a constant.

        Args:
            fields: Real fields in FFT order.

        Returns:
            Nats.
        """
        values = self.transform(fields)
        power = (self.precision * (values.real.square() + values.imag.square())).sum(-1)
        return 0.5 * float((self.lattice.multiplicity * power).double().sum())

    def improve(
        self,
        fields: Float[Tensor, "fields z y x"],
        matrix: Float[Tensor, "v p"],
        vector: Complex[Tensor, "v c"],
        iterations: int,
    ) -> Float[Tensor, "fields z y x"]:
        """Lower ``uᵀ A u - 2 uᵀ b`` plus the prior's penalty by preconditioned conjugate gradients.

        Every iteration lowers it, so any number of them is a step of (generalised) expectation
        maximisation.

        Args:
            fields: Where to begin.
            matrix: Packed normal matrices A of the components at each voxel, folded.
            vector: Right-hand sides b, folded.
            iterations: At most so many.

        Returns:
            Improved fields.
        """
        inside = self.lattice.inside[:, None]
        scale = self.lattice.to_grid(inside / (self._diagonal(matrix) + self.precision))
        residual = self._adjoint(self._unmix(vector)) - self._normal(fields, matrix)
        direction = ready = self._precondition(residual, scale)
        slope = first = (residual * ready).sum()
        still = torch.zeros_like(slope)
        for _ in range(iterations):
            # no branch on a number of the device: once it is small enough, nothing moves any more
            done = slope <= TOLERANCE**2 * first
            bent = self._normal(direction, matrix)
            step = torch.where(done, still, slope / (direction * bent).sum())
            fields, residual = fields + step * direction, residual - step * bent
            ready = self._precondition(residual, scale)
            before, slope = slope, (residual * ready).sum()
            direction = ready + torch.where(done, still, slope / before) * direction
        return fields

    def _adjoint(self, values: Tensor) -> Tensor:
        return self.mask * self.lattice.to_field(values * self.lattice.inside[:, None])

    def _normal(self, fields: Tensor, matrix: Tensor) -> Tensor:
        values = self.transform(fields)
        bent = self._unmix(apply_normal(matrix, self._mix(values)))
        return self._adjoint(bent + self.precision * values)

    def _precondition(self, residual: Tensor, scale: Tensor) -> Tensor:
        grid = torch.fft.rfftn(residual * self.mask, dim=(-3, -2, -1), norm="forward")
        return self.lattice.inverse(grid.mul_(scale)).mul_(self.mask)

    def _diagonal(self, matrix: Tensor) -> Tensor:
        """Mean diagonal of the normal matrices in each shell, for the fields."""
        components = self.mixing.shape[0]
        index = torch.arange(components, device=matrix.device)
        if matrix.shape[1] != components:
            index = index * (index + 3) // 2
        by_shell = self.lattice.shell_mean(matrix[:, index])
        return self.lattice.per_shell(by_shell @ self.mixing.square())

    def _mix(self, values: Tensor) -> Tensor:
        return values if self._unmixed else values @ self.mixing.T.to(values.dtype)

    def _unmix(self, values: Tensor) -> Tensor:
        return values if self._unmixed else values @ self.mixing.to(values.dtype)

    @cached_property
    def _unmixed(self) -> bool:
        # of a device that cannot be asked, the general way
        known = self.mixing.device.type != "meta"
        return known and torch.equal(self.mixing.cpu(), torch.eye(len(self.mixing)))

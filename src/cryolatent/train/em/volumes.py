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
        # field by field: temporary copies of all of them would be most of the memory
        values = fields.new_empty(self.lattice.size, len(fields), dtype=torch.complex64)
        for n in range(len(fields)):
            self.lattice.read_grid(self.lattice.forward(fields[n] * self._mask(n)), values[:, n])
        return values.mul_(self.lattice.inside[:, None])

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
        inside, fields = self.lattice.inside[:, None], fields.clone()
        scale = self.lattice.to_grid(inside / (self._diagonal(matrix) + self.precision))
        residual = self._adjoint(self._unmix(vector)).sub_(self._normal(fields, matrix))
        ready = self._precondition(residual, scale)
        direction, slope = ready.clone(), _dot(residual, ready)
        first, still = slope, torch.zeros_like(slope)
        for _ in range(iterations):
            # no branch on a number of the device: once it is small enough, nothing moves any more
            done = slope <= TOLERANCE**2 * first
            bent = self._normal(direction, matrix)
            step = torch.where(done, still, slope / _dot(direction, bent))
            fields.addcmul_(direction, step)
            residual.addcmul_(bent, -step)
            ready = self._precondition(residual, scale)
            before, slope = slope, _dot(residual, ready)
            direction.mul_(torch.where(done, still, slope / before)).add_(ready)
        return fields

    def _mask(self, field: int) -> Float[Tensor, "z y x"]:
        return self.mask[field if len(self.mask) > 1 else 0]

    def _adjoint(self, values: Tensor) -> Tensor:
        fields = self.lattice.to_field(values * self.lattice.inside[:, None])
        return fields.mul_(self.mask)

    def _normal(self, fields: Tensor, matrix: Tensor) -> Tensor:
        values = self.transform(fields)
        bent = self._unmix(apply_normal(matrix, self._mix(values)))
        return self._adjoint(values.mul_(self.precision).add_(bent))

    def _precondition(self, residual: Tensor, scale: Tensor) -> Tensor:
        ready = torch.empty_like(residual)
        for n in range(len(residual)):
            grid = self.lattice.forward(residual[n] * self._mask(n))
            self.lattice.inverse(grid.mul_(scale[n]), ready[n]).mul_(self._mask(n))
        return ready

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


def _dot(first: Float[Tensor, "fields *p"], second: Float[Tensor, "fields *p"]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()

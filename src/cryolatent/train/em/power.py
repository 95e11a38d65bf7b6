"""How much power the particle has in each shell, as images and normal equations show it."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import StackStatistics
from cryolatent.physics import FourierLattice

LEAST_OTHERS = 0.02
"""Signal, relative to the noise, that volumes but the mean are at least held to have."""

LEAST_SIGNAL = 2.0
"""Power that a shell is found to have at least, in standard errors of where there is none."""


def signal_of(
    spectra: StackStatistics, noise: Float[Tensor, " shells"]
) -> Float[Tensor, " shells"]:
    """Mean power of the particle's Fourier coefficients, as the images show it.

    Args:
        spectra: Mean spectra of the data.
        noise: Noise variance of each shell.

    Returns:
        Variance of each shell; at least a fiftieth of the noise's.
    """
    excess = (spectra.power - noise) / spectra.ctf_squared.clamp(min=0.05)
    signal = torch.maximum(excess, LEAST_OTHERS * noise)
    signal[0] = signal[1]
    return signal


def power_found(
    matrix: Float[Tensor, "v 1"], vector: Complex[Tensor, "v 1"], lattice: FourierLattice
) -> Float[Tensor, " shells"]:
    """Power of a volume in each shell, from its normal equations, without the noise's share.

    A right-hand side ``b = A V + e`` has noise of variance A, so ``Σ |b|² - A`` over ``Σ A²`` is
    the power on average; no less is returned than what this estimate cannot tell from nothing.

    Args:
        matrix: A at the voxels.
        vector: b at the voxels.
        lattice: Where they belong.

    Returns:
        Mean square of shells 0 to ``disc.radius``.
    """
    power = vector.real.square() + vector.imag.square()
    excess, square = lattice.shell_mean(power - matrix)[:, 0], lattice.shell_mean(matrix.square())
    count = lattice.shell_sum(torch.ones_like(matrix))[:, 0].clamp(min=1)
    square = square[:, 0].clamp(min=1e-30)
    least = LEAST_SIGNAL / (square * count).sqrt()
    signal = torch.maximum(excess / square, least)
    signal[0] = signal[1]
    return signal

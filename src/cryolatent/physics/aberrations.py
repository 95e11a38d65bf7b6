"""Aberrations of the objective lens as polynomials in spatial frequency.

A polynomial is a row of coefficients of monomials in (kx, ky), in rad·Åⁿ for a monomial of degree
n, so that groups of particles with different aberrations are rows of one tensor. Even polynomials
belong to the transfer function (`CTF.aberration`); odd ones turn the phases of an image.
"""

from collections.abc import Sequence
from math import factorial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

EVEN = ((0, 0), (2, 0), (1, 1), (0, 2), (4, 0), (3, 1), (2, 2), (1, 3), (0, 4))
ODD = ((1, 0), (0, 1), (3, 0), (2, 1), (1, 2), (0, 3))


def evaluate_polynomial(
    coefficients: Float[Tensor, "*n m"],
    frequencies: Float[Tensor, "*n k 2"],
    powers: Sequence[tuple[int, int]],
) -> Float[Tensor, "*n k"]:
    """Evaluate polynomials in two variables.

    Args:
        coefficients: One row per polynomial.
        frequencies: Positions (kx, ky).
        powers: Powers of kx and ky that each coefficient belongs to: `EVEN` or `ODD`.

    Returns:
        Values.
    """
    x, y = frequencies.unbind(-1)
    total = torch.zeros_like(x)
    for column, (a, b) in enumerate(powers):
        total = total + coefficients[..., column, None] * x**a * y**b
    return total


def turn_polynomial(
    coefficients: Float[Tensor, "*n m"],
    degrees: Float[Tensor, "*n"],
    powers: Sequence[tuple[int, int]],
) -> Float[Tensor, "*n m"]:
    """Turn polynomials about the origin: those of images that are turned.

    Args:
        coefficients: One row per polynomial.
        degrees: Angle of each turn, from x towards y.
        powers: `EVEN` or `ODD`.

    Returns:
        Polynomials whose values at a turned position are those of the given ones before it.
    """
    angle = torch.deg2rad(degrees)
    cos, sin = torch.cos(angle), torch.sin(angle)
    turned = [torch.zeros_like(cos * coefficients[..., 0]) for _ in powers]
    for column, (a, b) in enumerate(powers):
        # (x cos + y sin)^a (y cos - x sin)^b
        for i in range(a + 1):
            for j in range(b + 1):
                factor = _binomial(a, i) * _binomial(b, j) * (-1) ** j
                term = factor * cos ** (a - i + b - j) * sin ** (i + j)
                place = powers.index((a - i + j, i + b - j))
                turned[place] = turned[place] + term * coefficients[..., column]
    return torch.stack(turned, dim=-1)


def zernike_polynomial(
    coefficients: Sequence[float], powers: Sequence[tuple[int, int]]
) -> Float[np.ndarray, " m"]:
    """Expand Zernike polynomials into monomials.

    They are ordered as in RELION: by degree n, then by m = -n, -n + 2 ... n, even or odd n only;
    negative m stands for ``sin |m| φ``. The radius is the spatial frequency itself, in 1/Å.

    Args:
        coefficients: Of the polynomials, in order; missing ones are zero.
        powers: Monomials wanted: `EVEN` or `ODD`, which also says whether n is even or odd.

    Returns:
        Coefficients of the monomials.

    Raises:
        ValueError: If a coefficient of a degree beyond the monomials is not zero.

    Source:
        Zivanov, Nakane and Scheres 2020, doi:10.1107/S2052252520000081; Noll 1976,
        doi:10.1364/JOSA.66.000207, eq. 1.

    Examples:
        >>> zernike_polynomial([0.0, 0.0, 1.0], EVEN).tolist()  # 2 r² - 1
        [-1.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    total = np.zeros(len(powers))
    degree, highest = powers[0][0] % 2, max(a + b for a, b in powers)
    order = [(m, n) for n in range(degree, highest + 1, 2) for m in range(-n, n + 1, 2)]
    if np.any(np.asarray(coefficients[len(order) :]) != 0):
        raise ValueError(f"Zernike polynomials of degree above {highest}")
    for value, (m, n) in zip(coefficients, order, strict=False):
        for monomial, factor in _zernike(m, n).items():
            total[powers.index(monomial)] += value * factor
    return total


def _zernike(m: int, n: int) -> dict[tuple[int, int], float]:
    """Monomials of ``R(r) cos mφ``, or ``R(r) sin |m|φ`` for negative m."""
    size, found = abs(m), {}
    for k in range((n - size) // 2 + 1):
        radial = (-1) ** k * factorial(n - k)
        radial /= factorial(k) * factorial((n + size) // 2 - k) * factorial((n - size) // 2 - k)
        # r^size cos (sin) of size·φ is the real (imaginary) part of (x + iy)^size
        turned = [(size - j, j, _binomial(size, j) * 1j**j) for j in range(size + 1)]
        rest = (n - 2 * k - size) // 2
        for a, b, value in turned:
            part = value.imag if m < 0 else value.real
            for i in range(rest + 1):
                key = (a + 2 * (rest - i), b + 2 * i)
                found[key] = found.get(key, 0.0) + radial * part * _binomial(rest, i)
    return {key: value for key, value in found.items() if value}


def _binomial(n: int, k: int) -> float:
    return factorial(n) / (factorial(k) * factorial(n - k))


def beam_tilt_polynomial(
    tilt_milliradian: Float[np.ndarray, "*n 2"],
    spherical_aberration_mm: Float[np.ndarray, " *n"],
    wavelength_angstrom: Float[np.ndarray, " *n"],
) -> Float[np.ndarray, "*n 6"]:
    """The axial coma of a tilted beam: ``-2π Cs λ² k² (k·τ)``.

    Args:
        tilt_milliradian: Tilt τ along x and y, in mrad, as in rlnBeamTiltX and rlnBeamTiltY.
        spherical_aberration_mm: Spherical aberration Cs, in mm.
        wavelength_angstrom: The electrons' wavelength λ, in Å.

    Returns:
        Coefficients of `ODD`: the phase by which the image's coefficients are turned, as that of
        RELION's odd Zernike polynomials.

    Source:
        Glaeser, Typke, Tiemeijer, Pulokas and Cheng 2011, doi:10.1016/j.jsb.2010.12.005;
        sign as in RELION.
    """
    factor = -2 * np.pi * 1e7 * spherical_aberration_mm * wavelength_angstrom**2
    x, y = np.moveaxis(1e-3 * factor[..., None] * tilt_milliradian, -1, 0)
    none = np.zeros_like(x)
    return np.stack([none, none, x, y, x, y], axis=-1)

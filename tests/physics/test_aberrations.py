"""Zernike polynomials, beam tilt, and what they make of a transfer function."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import eval_jacobi

from builders import random_ctf
from cryolatent.physics import (
    EVEN,
    ODD,
    FourierDisc,
    beam_tilt_polynomial,
    electron_wavelength_angstrom,
    evaluate_polynomial,
    turn_ctf,
    turn_polynomial,
    zernike_polynomial,
)

ORDERS = {
    EVEN: [(0, 0), (-2, 2), (0, 2), (2, 2), (-4, 4), (-2, 4), (0, 4), (2, 4), (4, 4)],
    ODD: [(-1, 1), (1, 1), (-3, 3), (-1, 3), (1, 3), (3, 3)],
}


def polar(m: int, n: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Zernike polynomials by Jacobi polynomials, which they are but for a power of the radius."""
    size, r2 = abs(m), x**2 + y**2
    count = (n - size) // 2
    radial = (-1) ** count * r2 ** (size / 2) * eval_jacobi(count, size, 0, 1 - 2 * r2)
    angle = np.arctan2(y, x)
    return radial * (np.sin(size * angle) if m < 0 else np.cos(size * angle))


@pytest.mark.parametrize("powers", [EVEN, ODD], ids=["even", "odd"])
def test_monomials_add_up_to_zernike_polynomials(powers):
    points = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    for place, (m, n) in enumerate(ORDERS[powers]):
        unit = [0.0] * place + [1.0]
        found = zernike_polynomial(unit, powers)
        values = evaluate_polynomial(torch.tensor(found), torch.from_numpy(points), powers)
        np.testing.assert_allclose(values, polar(m, n, *points.T), rtol=0, atol=1e-12)


def test_degrees_beyond_the_monomials_are_refused_unless_zero():
    assert zernike_polynomial([0.0] * 12, ODD).tolist() == [0] * 6
    with pytest.raises(ValueError, match="degree above 3"):
        zernike_polynomial([0.0] * 6 + [0.1], ODD)


def test_tilt_of_one_milliradian_at_three_angstroms():
    """2π · 2.7e7 Å · (0.0196875 Å)² · (1/3 Å)³ · 1e-3 = 2.43535 rad, along the tilt only."""
    wavelength = electron_wavelength_angstrom(torch.tensor([300.0]).double()).numpy()
    found = beam_tilt_polynomial(np.array([[1.0, 0.0]]), np.array([2.7]), wavelength)
    k = torch.tensor([[1 / 3, 0.0], [0.0, 1 / 3], [-1 / 3, 0.0]]).double()
    values = evaluate_polynomial(torch.from_numpy(found[0]), k, ODD).tolist()
    assert values == pytest.approx([-2.43535, 0.0, 2.43535], abs=2e-5)


def test_even_terms_can_stand_for_defocus_cs_and_phase():
    """χ = π λ Δf k² - ½ π Cs λ³ k⁴ + φ, written as a polynomial, gives the same function."""
    disc, plain = FourierDisc(32, 15), random_ctf(3)
    wavelength = electron_wavelength_angstrom(plain.voltage_kv)
    blank = replace(
        plain,
        defocus_u_angstrom=torch.zeros(3),
        defocus_v_angstrom=torch.zeros(3),
        spherical_aberration_mm=torch.zeros(3),
    )
    angle = 2 * torch.deg2rad(plain.defocus_angle_degrees)
    mean = 0.5 * (plain.defocus_u_angstrom + plain.defocus_v_angstrom)
    half = 0.5 * (plain.defocus_u_angstrom - plain.defocus_v_angstrom)
    fourth = -0.5 * math.pi * 1e7 * plain.spherical_aberration_mm * wavelength**3
    zero = torch.zeros(3)
    second = [mean + half * angle.cos(), 2 * half * angle.sin(), mean - half * angle.cos()]
    second = [math.pi * wavelength * part for part in second]
    terms = torch.stack([zero, *second, fourth, zero, 2 * fourth, zero, fourth], dim=-1)
    found = replace(blank, aberration=terms).evaluate(disc.cycles_per_pixel)
    expected = plain.evaluate(disc.cycles_per_pixel)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def test_envelope_and_scale_multiply():
    ctf = random_ctf(2, pixel_size_angstrom=2.0)
    damped = replace(
        ctf, b_factor_angstrom2=torch.tensor([0.0, 80.0]), scale=torch.tensor([1.5, 1.0])
    )
    k = torch.tensor([[0.25, 0.0]])  # 1/8 Å: exp(-80 / 4 / 64) = 0.7316
    ratio = (damped.evaluate(k) / ctf.evaluate(k))[:, 0].tolist()
    assert ratio == pytest.approx([1.5, 0.7316], abs=1e-4)


def test_indexing_keeps_what_is_there_and_what_is_not():
    ctf = replace(random_ctf(4), scale=torch.rand(4), aberration=torch.rand(4, 9))
    part = ctf[torch.tensor([2, 0])]
    assert part.b_factor_angstrom2 is None
    assert torch.equal(part.scale, ctf.scale[[2, 0]])
    assert torch.equal(part.aberration, ctf.aberration[[2, 0]])


@pytest.mark.parametrize("powers", [EVEN, ODD], ids=["even", "odd"])
def test_turned_polynomials_have_the_values_of_before_the_turn(powers):
    coefficients, degrees = torch.randn(3, len(powers)).double(), torch.tensor([90.0, 37.0, -120.0])
    turned = turn_polynomial(coefficients, degrees.double(), powers)
    points = torch.randn(3, 20, 2).double()
    angle = torch.deg2rad(degrees.double())[:, None]
    x, y = points.unbind(-1)
    moved = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], -1)
    torch.testing.assert_close(
        evaluate_polynomial(turned, moved, powers),
        evaluate_polynomial(coefficients, points, powers),
    )


def test_transfer_functions_turn_with_their_aberrations():
    ctf = replace(random_ctf(2), aberration=torch.randn(2, 9))
    k = torch.rand(10, 2) / 2
    quarter = torch.stack([-k[:, 1], k[:, 0]], dim=-1)
    found = turn_ctf(ctf, torch.tensor([90.0, 90.0])).evaluate(quarter)
    torch.testing.assert_close(found, ctf.evaluate(k), rtol=0, atol=1e-3)

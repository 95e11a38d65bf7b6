"""The transfer function against the formula, written out again in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants

from cryolatent.physics import CTF, electron_wavelength_angstrom

# The wavelength's leading constant carries seven digits.
WAVELENGTH_ERROR = 4e-7


def make_ctf(**changes: float | list[float]) -> CTF:
    values = {
        "defocus_u_angstrom": 10_000.0,
        "defocus_v_angstrom": 10_000.0,
        "defocus_angle_degrees": 0.0,
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "phase_shift_degrees": 0.0,
        "pixel_size_angstrom": 1.0,
        **changes,
    }
    count = max(np.size(value) for value in values.values())
    return CTF(
        *(
            torch.from_numpy(np.broadcast_to(np.asarray(value, dtype=float), count).copy())
            for value in values.values()
        )
    )


def wavelength_angstrom(voltage_kv: float) -> float:
    energy = 1e3 * voltage_kv * constants.e
    rest = constants.m_e * constants.c**2
    momentum = np.sqrt(2 * constants.m_e * energy * (1 + energy / (2 * rest)))
    return 1e10 * constants.h / momentum


def chi_terms(ctf: CTF, kx: float, ky: float) -> tuple[float, float]:
    wavelength = wavelength_angstrom(float(ctf.voltage_kv))
    k = np.hypot(kx, ky) / float(ctf.pixel_size_angstrom)
    u, v = float(ctf.defocus_u_angstrom), float(ctf.defocus_v_angstrom)
    turn = np.arctan2(ky, kx) - np.deg2rad(float(ctf.defocus_angle_degrees))
    defocus = 0.5 * (u + v + (u - v) * np.cos(2 * turn))
    cs_angstrom = 1e7 * float(ctf.spherical_aberration_mm)
    return np.pi * wavelength * defocus * k**2, np.pi / 2 * cs_angstrom * wavelength**3 * k**4


@given(
    st.fixed_dictionaries(
        {
            "defocus_u_angstrom": st.floats(-30_000, 30_000),
            "defocus_v_angstrom": st.floats(-30_000, 30_000),
            "defocus_angle_degrees": st.floats(-180, 180),
            "voltage_kv": st.sampled_from([80.0, 200.0, 300.0]),
            "spherical_aberration_mm": st.floats(0, 3),
            "amplitude_contrast": st.floats(0, 1),
            "phase_shift_degrees": st.floats(0, 180),
            "pixel_size_angstrom": st.floats(1, 8),
        }
    ),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
)
@settings(deadline=None)
def test_evaluate_agrees_with_the_formula(parameters, kx, ky):
    ctf = make_ctf(**parameters)
    first, second = chi_terms(ctf, kx, ky)
    chi = first - second + np.deg2rad(parameters["phase_shift_degrees"])
    w = parameters["amplitude_contrast"]
    value = float(ctf.evaluate(torch.tensor([[kx, ky]], dtype=torch.float64)))
    tolerance = WAVELENGTH_ERROR * (abs(first) + 3 * second) + 1e-9
    assert abs(value - (np.sqrt(1 - w**2) * np.sin(chi) + w * np.cos(chi))) <= tolerance


@pytest.mark.parametrize(
    ("voltage_kv", "expected"), [(100.0, 0.037014), (200.0, 0.025079), (300.0, 0.019687)]
)
def test_wavelength_is_that_of_the_tables(voltage_kv, expected):
    value = float(electron_wavelength_angstrom(torch.tensor(voltage_kv, dtype=torch.float64)))
    assert value == pytest.approx(expected, abs=5e-7)
    assert value == pytest.approx(wavelength_angstrom(voltage_kv), rel=WAVELENGTH_ERROR)


def test_value_worked_by_hand():
    # lambda = 0.0196875 A, k = 0.1 / A: chi = pi 1.96875 - pi/2 0.020603 = 6.15265,
    # sin chi = -0.13016, cos chi = 0.99149: 0.994987 (-0.13016) + 0.1 (0.99149) = -0.03036.
    value = make_ctf().evaluate(torch.tensor([[0.1, 0.0]], dtype=torch.float64))
    assert float(value) == pytest.approx(-0.03036, abs=1e-5)


def test_first_zero_follows_from_defocus_and_amplitude_contrast():
    ctf = make_ctf(spherical_aberration_mm=0.0)
    zero = np.sqrt((np.pi - np.arcsin(0.1)) / (np.pi * wavelength_angstrom(300.0) * 1e4))
    k = torch.tensor([[0.999 * zero, 0.0], [zero, 0.0], [1.001 * zero, 0.0]], dtype=torch.float64)
    before, at, after = ctf.evaluate(k)[0].tolist()
    assert before > 0 > after
    assert abs(at) < np.pi * WAVELENGTH_ERROR
    inside = torch.linspace(0, 0.999 * zero, 200, dtype=torch.float64)
    assert (ctf.evaluate(torch.stack([inside, 0 * inside], -1)) > 0).all()


def test_amplitude_contrast_makes_particles_bright():
    dc = make_ctf(amplitude_contrast=0.07).evaluate(torch.zeros(1, 2, dtype=torch.float64))
    assert float(dc) == pytest.approx(0.07, abs=1e-12)


def test_astigmatism_axis_points_to_the_larger_defocus():
    k = torch.tensor([[0.08, 0.08], [-0.08, 0.08]], dtype=torch.float64)
    astigmatic = make_ctf(
        defocus_u_angstrom=12_000.0, defocus_v_angstrom=9_000.0, defocus_angle_degrees=45.0
    ).evaluate(k)[0]
    along = make_ctf(defocus_u_angstrom=12_000.0, defocus_v_angstrom=12_000.0).evaluate(k)[0, 0]
    across = make_ctf(defocus_u_angstrom=9_000.0, defocus_v_angstrom=9_000.0).evaluate(k)[0, 1]
    torch.testing.assert_close(astigmatic, torch.stack([along, across]), rtol=0, atol=1e-12)


def test_pixel_size_is_per_particle():
    k = torch.rand(20, 2, dtype=torch.float64) - 0.5
    both = make_ctf(pixel_size_angstrom=[1.5, 3.0])
    torch.testing.assert_close(both.evaluate(k)[0], both.evaluate(2 * k)[1], rtol=0, atol=1e-10)
    assert not torch.allclose(both.evaluate(k)[0], both.evaluate(k)[1], atol=0.1)


def test_float32_is_good_to_its_rounding():
    ctf = make_ctf(defocus_u_angstrom=30_000.0, defocus_v_angstrom=29_000.0)
    k = torch.rand(500, 2, dtype=torch.float64) / 2
    single = CTF(*(value.float() for value in vars(ctf).values() if value is not None))
    chi = np.pi * wavelength_angstrom(300.0) * 30_000 * 0.5
    torch.testing.assert_close(
        single.evaluate(k.float()).double(), ctf.evaluate(k), rtol=0, atol=8 * 2**-24 * chi
    )


def test_index_takes_the_particles():
    ctf = make_ctf(defocus_u_angstrom=[1e4, 2e4, 3e4])
    assert len(ctf) == 3
    chosen = ctf[torch.tensor([2, 0])]
    assert chosen.defocus_u_angstrom.tolist() == [3e4, 1e4]
    assert replace(chosen, voltage_kv=chosen.voltage_kv - 100)[:1].voltage_kv.tolist() == [200.0]

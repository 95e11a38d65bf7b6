"""The contrast transfer function of the microscope."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.physics.aberrations import EVEN, evaluate_polynomial


@dataclass(frozen=True)
class CTF:
    """Contrast transfer functions, one per observation.

    Args:
        defocus_u_angstrom: Largest underfocus, in Å, positive under focus.
        defocus_v_angstrom: Smallest underfocus, in Å.
        defocus_angle_degrees: Angle of the `defocus_u` axis from x, in degrees.
        voltage_kv: Acceleration voltage, in kV.
        spherical_aberration_mm: Spherical aberration, in mm.
        amplitude_contrast: Share of amplitude contrast, 0 to 1.
        phase_shift_degrees: Phase plate's shift, in degrees.
        pixel_size_angstrom: Pixel size, in Å.
        b_factor_angstrom2: B-factor of an envelope ``exp(-B k² / 4)``, in Å²; none by default.
        scale: Factor of the whole function; 1 by default.
        aberration: Even aberrations beyond defocus, astigmatism and Cs: a polynomial that is added
            to the phase χ, coefficients of `aberrations.EVEN` in rad·Åⁿ; none by default.
    """

    defocus_u_angstrom: Float[Tensor, " *n"]
    defocus_v_angstrom: Float[Tensor, " *n"]
    defocus_angle_degrees: Float[Tensor, " *n"]
    voltage_kv: Float[Tensor, " *n"]
    spherical_aberration_mm: Float[Tensor, " *n"]
    amplitude_contrast: Float[Tensor, " *n"]
    phase_shift_degrees: Float[Tensor, " *n"]
    pixel_size_angstrom: Float[Tensor, " *n"]
    b_factor_angstrom2: Float[Tensor, " *n"] | None = None
    scale: Float[Tensor, " *n"] | None = None
    aberration: Float[Tensor, "*n 9"] | None = None

    def __getitem__(self, index: Tensor | slice) -> "CTF":
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return replace(self, **{name: v[index] for name, v in values if v is not None})

    def __len__(self) -> int:
        return self.defocus_u_angstrom.shape[0]

    def scaled(self, factor: Float[Tensor, " *n"]) -> "CTF":
        """The same transfer functions times a factor.

        Args:
            factor: One number each.

        Returns:
            The transfer functions.
        """
        return replace(self, scale=factor if self.scale is None else factor * self.scale)

    def evaluate(self, cycles_per_pixel: Float[Tensor, "k 2"]) -> Float[Tensor, "*n k"]:
        """Evaluate the transfer functions for images in which particles are bright.

        ``χ = π λ Δf k² - ½ π Cs λ³ k⁴`` and ``CTF = √(1 - w²) sin(χ + φ) + w cos(χ + φ)``, times
        `scale` and the envelope. Images with dark particles are negated where they enter, so the
        sign here is always plus.

        Args:
            cycles_per_pixel: Frequencies (kx, ky) in cycles per pixel.

        Returns:
            Values between -1 and 1 (times `scale`).

        Source:
            Mindell and Grigorieff 2003, doi:10.1016/S1047-8477(03)00069-8, eqs. 1-5; sign as in
            RELION.
        """
        angle = torch.atan2(cycles_per_pixel[:, 1], cycles_per_pixel[:, 0])
        per_pixel_squared = cycles_per_pixel.square().sum(-1)
        k2 = per_pixel_squared / self.pixel_size_angstrom[..., None] ** 2
        wavelength = electron_wavelength_angstrom(self.voltage_kv)[..., None]
        astigmatism = (self.defocus_u_angstrom - self.defocus_v_angstrom)[..., None]
        mean_defocus = 0.5 * (self.defocus_u_angstrom + self.defocus_v_angstrom)[..., None]
        axis = torch.deg2rad(self.defocus_angle_degrees)[..., None]
        defocus = mean_defocus + 0.5 * astigmatism * torch.cos(2 * (angle - axis))
        aberration = 1e7 * self.spherical_aberration_mm[..., None]
        chi = torch.pi * wavelength * k2 * (defocus - 0.5 * aberration * wavelength**2 * k2)
        chi = chi + torch.deg2rad(self.phase_shift_degrees)[..., None]
        if self.aberration is not None:
            frequencies = cycles_per_pixel / self.pixel_size_angstrom[..., None, None]
            chi = chi + evaluate_polynomial(self.aberration, frequencies, EVEN)
        # √(1 - w²) sin χ + w cos χ is one sine: it is evaluated at every step of a training
        values = torch.sin(chi + torch.asin(self.amplitude_contrast)[..., None])
        if self.b_factor_angstrom2 is not None:
            values = values * torch.exp(-0.25 * self.b_factor_angstrom2[..., None] * k2)
        return values if self.scale is None else values * self.scale[..., None]


def electron_wavelength_angstrom(voltage_kv: Float[Tensor, " *n"]) -> Float[Tensor, " *n"]:
    """Relativistic wavelength of an electron.

    Args:
        voltage_kv: Acceleration voltage, in kV.

    Returns:
        Wavelength in Å: ``h / √(2 m e V (1 + e V / 2 m c²))``.

    Source:
        CODATA 2018 constants.
    """
    volt = 1e3 * voltage_kv
    return 12.26426 / torch.sqrt(volt * (1 + 0.978476e-6 * volt))

"""The contrast transfer function of the microscope."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


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
    """

    defocus_u_angstrom: Float[Tensor, " *n"]
    defocus_v_angstrom: Float[Tensor, " *n"]
    defocus_angle_degrees: Float[Tensor, " *n"]
    voltage_kv: Float[Tensor, " *n"]
    spherical_aberration_mm: Float[Tensor, " *n"]
    amplitude_contrast: Float[Tensor, " *n"]
    phase_shift_degrees: Float[Tensor, " *n"]
    pixel_size_angstrom: Float[Tensor, " *n"]

    def __getitem__(self, index: Tensor | slice) -> "CTF":
        return CTF(*(getattr(self, field.name)[index] for field in fields(self)))

    def __len__(self) -> int:
        return self.defocus_u_angstrom.shape[0]

    def evaluate(self, cycles_per_pixel: Float[Tensor, "k 2"]) -> Float[Tensor, "*n k"]:
        """Evaluate the transfer functions for images in which particles are bright.

        ``χ = π λ Δf k² - ½ π Cs λ³ k⁴`` and ``CTF = √(1 - w²) sin(χ + φ) + w cos(χ + φ)``. Images
        with dark particles are negated where they enter, so the sign here is always plus.

        Args:
            cycles_per_pixel: Frequencies (kx, ky) in cycles per pixel.

        Returns:
            Values between -1 and 1.

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
        # √(1 - w²) sin χ + w cos χ is one sine: it is evaluated at every step of a training
        return torch.sin(chi + torch.asin(self.amplitude_contrast)[..., None])


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

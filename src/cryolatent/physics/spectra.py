"""Noise spectra and Fourier shell correlation."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.physics.grid import FourierDisc, images_to_disc

EMPTY = 1e-11


def soft_disc(box: int, radius_pixels: float, edge_pixels: float = 3.0) -> Float[Tensor, "y x"]:
    """A disc about pixel ``box / 2`` with a raised-cosine edge.

    Args:
        box: Side of the image in pixels.
        radius_pixels: Radius within which the disc is one, in pixels.
        edge_pixels: Width over which it falls to zero, in pixels.

    Returns:
        Values between 0 and 1.
    """
    axis = torch.arange(box) - box // 2
    distance = torch.sqrt((axis[:, None] ** 2 + axis**2).float())
    fall = ((distance - radius_pixels) / edge_pixels).clamp(0, 1)
    return 0.5 * (1 + torch.cos(torch.pi * fall))


def background_spectrum(
    images: Float[Tensor, "n y x"], disc: FourierDisc, radius_pixels: float
) -> Float[Tensor, "n shells"]:
    """Estimate the noise variance per shell from the pixels outside the particle.

    The background is cut out with a soft mask; the loss of power is corrected by the mask's mean
    square. The mask mixes neighbouring shells, so this is a start, to be replaced by the residuals
    of a fitted model.

    Args:
        images: Real images.
        disc: Shells wanted.
        radius_pixels: Radius of the particle, in pixels.

    Returns:
        Variance of a complex coefficient in shells 0 to ``disc.radius`` (shell 0 copies shell 1),
        as each image shows it.
    """
    mask = 1 - soft_disc(disc.box, radius_pixels)
    mean = (images * mask).sum(dim=(-2, -1), keepdim=True) / mask.sum()
    power = images_to_disc((images - mean) * mask, disc).abs().square()
    spectrum = disc.shell_mean(power) / mask.square().mean()
    spectrum[:, 0] = spectrum[:, 1]
    return spectrum


def fourier_shell_correlation(
    first: Float[Tensor, "*n z y x"], second: Float[Tensor, "*n z y x"]
) -> Float[Tensor, "*n shells"]:
    """Correlate two volumes shell by shell in Fourier space.

    Args:
        first: Real volumes.
        second: Real volumes of the same size.

    Returns:
        Correlation in shells 0 to ``box / 2 - 1``; shell ``round(|k|)``; zero where a shell of
        either volume is empty but for rounding.

    Source:
        Harauz and van Heel 1986, Optik 73:146-156.
    """
    box = first.shape[-1]
    frequency = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64)
    half = torch.fft.rfftfreq(box, 1 / box, dtype=torch.float64)
    squared = frequency[:, None, None] ** 2 + frequency[:, None] ** 2 + half**2
    shell = squared.sqrt().round().long()
    weight = torch.where((half == 0) | (half == box / 2), 1.0, 2.0).expand(shell.shape)
    inside = shell < box // 2
    a = torch.fft.rfftn(first, dim=(-3, -2, -1))[..., inside]
    b = torch.fft.rfftn(second, dim=(-3, -2, -1))[..., inside]
    index, weight = shell[inside], weight[inside].to(a.real.dtype)

    def total(values: Tensor) -> Tensor:
        sums = torch.zeros(*values.shape[:-1], box // 2, dtype=values.dtype)
        return sums.index_add(-1, index, values * weight)

    power_a, power_b = total(a.abs().square()), total(b.abs().square())
    empty = (power_a <= EMPTY * power_a.amax(-1, keepdim=True)) | (
        power_b <= EMPTY * power_b.amax(-1, keepdim=True)
    )
    cross = total((a * b.conj()).real)
    norm = torch.sqrt(power_a * power_b).clamp(min=torch.finfo(power_a.dtype).tiny)
    return torch.where(empty, 0.0, cross / norm)


def resolution_angstrom(
    fsc: Float[Tensor, " shells"], pixel_size_angstrom: float, threshold: float = 0.5
) -> float:
    """The resolution at which a correlation curve first falls below a threshold.

    Args:
        fsc: Correlation in shells 0 to ``box / 2 - 1``.
        pixel_size_angstrom: Pixel size, in Å.
        threshold: The level, 0.5 against a true map.

    Returns:
        Resolution in Å, interpolated between shells; that of the last shell if the curve stays
        above.
    """
    box = 2 * fsc.shape[-1]
    below = torch.nonzero(~(fsc[1:] >= threshold))
    if len(below) == 0:
        return box * pixel_size_angstrom / (fsc.shape[-1] - 1)
    shell = int(below[0]) + 1
    before, after = (1.0 if shell == 1 else float(fsc[shell - 1])), float(fsc[shell])
    crossing = shell - 1 + (before - threshold) / (before - after)
    return box * pixel_size_angstrom / max(crossing, 1e-3)

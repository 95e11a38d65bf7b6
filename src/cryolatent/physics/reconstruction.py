"""What two half-maps say of a map: correlation behind a mask, Wiener weights, a solvent mask."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cryolatent.physics.backprojection import sphere_distance
from cryolatent.physics.spectra import fourier_shell_correlation

RANDOMISE_BELOW = 0.8
FSC_RANGE = (1e-3, 0.9999)
SOLVENT_DEVIATIONS, SOLVENT_SHARE = 5.0, 0.1


@dataclass(frozen=True)
class MaskedCorrelation:
    """Fourier shell correlation behind a mask, and what the mask alone contributes.

    Args:
        masked: Correlation of the masked half-maps.
        randomised: The same with random phases from shell `first` on.
        corrected: Correlation without the mask's contribution.
        first: First shell with random phases.
    """

    masked: Float[Tensor, " shells"]
    randomised: Float[Tensor, " shells"]
    corrected: Float[Tensor, " shells"]
    first: int


def randomise_phases(
    volume: Float[Tensor, "z y x"], first: int, generator: torch.Generator
) -> Float[Tensor, "z y x"]:
    """Replace a volume's phases beyond a resolution by random ones.

    Args:
        volume: Real volume.
        first: First shell to change; a coefficient k belongs to shell ``round(|k|)``.
        generator: Source of the phases.

    Returns:
        A real volume of the same Fourier amplitudes.
    """
    # phases of a real random volume, so that opposite coefficients stay conjugate
    phases = torch.fft.rfftn(torch.randn(volume.shape, generator=generator))
    phases /= phases.abs().clamp(min=1e-20)
    transform = torch.fft.rfftn(volume)
    moved = transform.abs() * phases
    beyond = _squared_frequency(volume.shape[-1]) >= (first - 0.5) ** 2
    transform = torch.where(beyond, moved, transform)
    return torch.fft.irfftn(transform, s=volume.shape)


def masked_correlation(
    first: Float[Tensor, "z y x"],
    second: Float[Tensor, "z y x"],
    mask: Float[Tensor, "z y x"],
    seed: int = 0,
) -> MaskedCorrelation:
    """Correlate half-maps behind a mask and subtract the correlation that the mask makes.

    Phases are randomised from the shell on where the correlation without mask falls below 0.8.
    Within two shells of it no correction is made.

    Args:
        first: One half-map.
        second: The other.
        mask: Values between 0 and 1.
        seed: Fixes the random phases.

    Returns:
        Correlations in shells 0 to ``box / 2 - 1``.

    Source:
        Chen et al. 2013, doi:10.1016/j.ultramic.2013.06.004, eq. 4.
    """
    plain = fourier_shell_correlation(first, second)
    low = torch.nonzero(plain[1:] < RANDOMISE_BELOW)
    start = int(low[0]) + 1 if len(low) else len(plain)
    generator = torch.Generator().manual_seed(seed)
    random = [randomise_phases(half, start, generator) * mask for half in (first, second)]
    masked = fourier_shell_correlation(first * mask, second * mask)
    randomised = fourier_shell_correlation(random[0], random[1])
    corrected = masked.clone()
    beyond = slice(start + 2, None)
    excess = (masked[beyond] - randomised[beyond]) / (1 - randomised[beyond]).clamp(min=1e-6)
    corrected[beyond] = torch.where(randomised[beyond] < masked[beyond], excess, 0.0)
    return MaskedCorrelation(masked, randomised, corrected, start)


def signal_to_noise(fsc: Float[Tensor, " shells"]) -> Float[Tensor, " shells"]:
    """Spectral signal-to-noise ratio of the map of all particles.

    From the first shell on where the halves do not correlate, the least value is assumed.

    Args:
        fsc: Correlation of half-maps.

    Returns:
        ``2 FSC / (1 - FSC)``, with the correlation kept between 0.001 and 0.9999; shell 0 copies
        shell 1.

    Source:
        Rosenthal and Henderson 2003, doi:10.1016/j.jmb.2003.07.013, appendix.
    """
    bounded = fsc.clamp(*FSC_RANGE)
    bounded[0] = bounded[1]
    alive = (fsc[1:] > 0).cumprod(0).bool()
    bounded[1:] = torch.where(alive, bounded[1:], FSC_RANGE[0])
    return 2 * bounded / (1 - bounded)


def half_map_mask(
    first: Float[Tensor, "z y x"],
    second: Float[Tensor, "z y x"],
    shell: float,
    grow_pixels: float = 3.0,
    edge_pixels: float = 5.0,
) -> Float[Tensor, "z y x"]:
    """Find the molecule in half-maps: the largest connected piece of density, with a soft edge.

    The maps are smoothed by a Gaussian. What exceeds five standard deviations of the noise (half
    the difference of the two) and a tenth of the mean map's 99.9th percentile is kept, holes are
    filled, and the rest is grown.

    Args:
        first: One half-map.
        second: The other.
        shell: Where the Gaussian falls to ``1/e``, in cycles per box.
        grow_pixels: By how much the density is grown, in voxels.
        edge_pixels: Width of the raised-cosine edge beyond, in voxels.

    Returns:
        Values between 0 and 1; all zero where no density exceeds the threshold.
    """
    from scipy import ndimage

    smooth = _smoothed((first + second) / 2, shell)
    box = smooth.shape[-1]
    noise = _smoothed((first - second) / 2, shell)[sphere_distance(box) < box / 2].std()
    peak = smooth.flatten().kthvalue(round(0.999 * smooth.numel())).values
    level = max(SOLVENT_DEVIATIONS * float(noise), SOLVENT_SHARE * float(peak))
    pieces, _ = ndimage.label((smooth > level).numpy())  # pyright: ignore[reportGeneralTypeIssues]
    sizes = torch.bincount(torch.from_numpy(pieces).flatten())
    if len(sizes) == 1:
        return torch.zeros_like(smooth)
    largest = ndimage.binary_fill_holes(pieces == 1 + int(sizes[1:].argmax()))
    distance = torch.from_numpy(ndimage.distance_transform_edt(~largest)).float()  # pyright: ignore
    fall = ((distance - grow_pixels) / edge_pixels).clamp(0, 1)
    return 0.5 * (1 + torch.cos(torch.pi * fall))


def _smoothed(volume: Float[Tensor, "z y x"], shell: float) -> Float[Tensor, "z y x"]:
    transform = torch.fft.rfftn(volume)
    transform *= torch.exp(-_squared_frequency(volume.shape[-1]) / shell**2)
    return torch.fft.irfftn(transform, s=volume.shape)


def _squared_frequency(box: int) -> Float[Tensor, "z y x"]:
    frequency = torch.fft.fftfreq(box, 1 / box)
    half = torch.fft.rfftfreq(box, 1 / box)
    return frequency[:, None, None] ** 2 + frequency[:, None] ** 2 + half**2

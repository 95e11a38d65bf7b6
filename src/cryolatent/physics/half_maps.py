"""What half-maps say place by place: local resolution, and which differences exceed their noise."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage, special
from torch import Tensor

from cryolatent.physics.volumes import weigh_shells

Halves = tuple[Float[Tensor, "z y x"], Float[Tensor, "z y x"]]

BANDS, LOCAL = 24, 0.5
"""Bands of shells of which a local correlation is taken, and the level that it must keep."""

NARROW, LOCAL_WINDOW = 1 / 6, 1.0
"""Standard deviations: of a band, as a share of its shell, and of its window, in periods."""

NOISE_WINDOW = 1.5
"""Standard deviation of the window of a local variance, in periods of the last shell kept."""

WIDEST = 1 / 6
"""Standard deviation of the widest window, as a share of the box."""

FALSE_DISCOVERIES = 0.01


@dataclass(frozen=True)
class Difference:
    """One map less another, and how noisy that is.

    Args:
        volume: Mean of the two differences of half-maps, filtered.
        null: Half the difference of those two: the same noise, and nothing else.
        noise: Local standard deviation of `null`.
    """

    volume: Float[Tensor, "z y x"]
    null: Float[Tensor, "z y x"]
    noise: Float[Tensor, "z y x"]

    @property
    def significance(self) -> Float[Tensor, "z y x"]:
        """The difference in standard deviations of its noise."""
        return self.volume / self.noise

    @property
    def null_significance(self) -> Float[Tensor, "z y x"]:
        """What noise alone has in its place: one map's halves are swapped."""
        return self.null / self.noise


def difference(first: Halves, second: Halves, weights: Float[Tensor, " shells"]) -> Difference:
    """Subtract maps, with the noise that their half-maps show.

    With ``d_h`` the difference of the maps of half h, the mean of the two is the difference and
    half their difference, ``(d_1 - d_2) / 2``, is noise of equal variance, whatever the two maps
    have in common: particles of which both are made included. Its square, averaged over a window,
    is the local variance.

    Args:
        first: Unfiltered half-maps.
        second: Those of the map to subtract, of the same halves of the particles.
        weights: Of the shells, from 0 on.

    Returns:
        Difference and noise.
    """
    halves = torch.stack([a - b for a, b in zip(first, second, strict=True)])
    one, two = weigh_shells(halves, weights)
    null = (one - two) / 2
    box, kept = null.shape[-1], max(int((weights > 0.5).sum()), 1)
    variance = _average(null.square(), NOISE_WINDOW * box / kept)
    floor = 1e-6 * variance.amax() + torch.finfo(variance.dtype).tiny
    return Difference((one + two) / 2, null, variance.clamp(min=floor).sqrt())


def discovery_level(
    significance: Float[Tensor, "z y x"], inside: Bool[Tensor, "z y x"]
) -> float | None:
    """The least significance at which one voxel among a hundred is noise.

    Args:
        significance: In standard deviations of a normal distribution.
        inside: Where to look.

    Returns:
        Standard deviations, of either sign; None where no voxel is more than noise.

    Source:
        Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    values = np.sort(significance[inside].abs().double().numpy())[::-1]
    allowed = FALSE_DISCOVERIES * np.arange(1, len(values) + 1) / max(len(values), 1)
    kept = np.flatnonzero(special.erfc(values / np.sqrt(2)) <= allowed)
    return float(values[kept[-1]]) if len(kept) else None


def local_resolution(
    halves: Halves, pixel_size_angstrom: float, last_shell: int
) -> Float[Tensor, "z y x"]:
    """Find where half-maps cease to agree, around every voxel.

    Both are seen through Gaussian bands about shells s, of a standard deviation of s/6: narrower
    ones would ring through the whole box. In each the product and the squares are averaged by a
    Gaussian window of one of the band's periods, which gives the local Fourier shell correlation;
    the resolution is where it first falls below one half, interpolated.

    Args:
        halves: Unfiltered half-maps.
        pixel_size_angstrom: Pixel size, in Å.
        last_shell: The last one looked at.

    Returns:
        Resolution in Å of every voxel; in the solvent that of noise.

    Source:
        After Cardone, Heymann and Steven 2013, doi:10.1016/j.jsb.2013.08.002, with windows that
        follow the resolution.
    """
    box = halves[0].shape[-1]
    shells = torch.arange(box // 2)
    reached = torch.full(halves[0].shape, float(last_shell))
    alive = torch.ones_like(reached, dtype=torch.bool)
    before, shell_before = torch.ones_like(reached), 0.0
    for shell in np.linspace(1, last_shell, min(BANDS, last_shell)).tolist():
        band = torch.exp(-0.5 * ((shells - shell) / max(NARROW * shell, 0.5)) ** 2)
        one, two = (weigh_shells(half, band) for half in halves)
        width = LOCAL_WINDOW * box / shell
        powers = _average(one.square(), width) * _average(two.square(), width)
        here = _average(one * two, width) / powers.clamp(min=1e-30).sqrt()
        fell = alive & (here < LOCAL)
        step = (before - LOCAL) / (before - here).clamp(min=1e-6)
        reached = torch.where(fell, shell_before + step * (shell - shell_before), reached)
        alive, before, shell_before = alive & ~fell, here, shell
    return box * pixel_size_angstrom / reached.clamp(min=1.0)


def mask_noise(null: Float[Tensor, "z y x"], mask: Float[Tensor, "z y x"]) -> float:
    """How much a map's integral behind a mask scatters by noise.

    Args:
        null: Noise alone.
        mask: Values from 0 to 1.

    Returns:
        Standard deviation of the integral over all places to which the mask can be moved.
    """
    transforms = [torch.fft.rfftn(volume) for volume in (null, mask)]
    moved = torch.fft.irfftn(transforms[0] * transforms[1].conj(), s=null.shape)
    return float(moved.std())


def _average(volume: Float[Tensor, "z y x"], width: float) -> Float[Tensor, "z y x"]:
    """Average by a Gaussian window of a standard deviation in voxels."""
    width = min(width, WIDEST * volume.shape[-1])
    array = ndimage.gaussian_filter(volume.numpy(), width, mode="wrap", truncate=3.0)
    return torch.from_numpy(array)

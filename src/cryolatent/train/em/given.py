"""Differences between particles' volumes, given their latents: a regression, no inference."""

from collections.abc import Iterable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryolatent.data import FilteredImages
from cryolatent.models.hypothesis import ERRORS
from cryolatent.models.settling import PosePosterior
from cryolatent.physics import NormalEquations, pack, soft_sphere
from cryolatent.train.em.power import power_found
from cryolatent.train.em.search import CONSENSUS_STEPS, MEAN_PRIOR, RATIO_PRIOR
from cryolatent.train.em.volumes import MaskedVolumes


def volumes_given(
    poses: PosePosterior,
    parts: Iterable[FilteredImages],
    z: Float[Tensor, "n d"],
    radius_pixels: float,
    seed: int = 0,
) -> Complex[Tensor, "v c"]:
    """Regress volumes on latents: ``V_i = V_0 + Σ_j z_ij V_j``.

    Poses, contrasts and kinds are those that one volume finds; images are inserted at draws of
    their poses, as in any maximisation step.

    Args:
        poses: How particles are read under one volume.
        parts: Images at the recorded poses.
        z: Latents of all particles of the stack.
        radius_pixels: Within which volumes may differ.
        seed: Fixes the draws.

    Returns:
        Mean and slopes at the voxels of the last hypothesis's lattice. The mean is that of the one
        volume, of which more is known than a regression at draws of poses gives.
    """
    one = poses.hypothesis
    lattice, noise = one.lattice, one.noise
    mean = one.posterior.bases(one.values)[:, :1]
    if not z.shape[1]:
        return mean
    equations = NormalEquations(lattice, 1 + z.shape[1])
    gains = 1 / noise[lattice.disc.shells]
    generator = torch.Generator().manual_seed(seed)
    for part in parts:
        normal, errors = (
            torch.randn(len(rows), width, generator=generator).to(noise)
            for rows, width in ((part, 2), (part.images, ERRORS))
        )
        there, first, second = poses.explain(part).insertion(normal, errors)
        zeta = torch.cat([torch.ones(len(part), 1), z[part.index]], dim=1).to(noise)
        square = second.reshape(len(part), 1) * pack(zeta[:, :, None] * zeta[:, None])
        moments = square[part.owner].contiguous(), (first * zeta)[part.owner].contiguous()
        equations.insert(there.images, there.weights, gains, moments, there.rotations)
    matrix, vector = equations.total()
    prior = [MEAN_PRIOR * power_found(matrix[:, :1], vector[:, :1], lattice)]
    for j in range(1, 1 + z.shape[1]):
        # row j of a packed matrix begins with its product with the mean
        begin = j * (j + 1) // 2
        left = vector[:, j : j + 1] - matrix[:, begin : begin + 1] * mean
        prior.append(RATIO_PRIOR * power_found(matrix[:, begin + j, None], left, lattice))
    ball = soft_sphere(lattice.disc.box, 1.0, radius_pixels, 2.0).to(noise)
    mask, mixing = lattice.field_of(ball)[None], torch.eye(len(prior)).to(noise)
    space = MaskedVolumes(lattice, mask, torch.stack(prior, dim=1), mixing)
    start = noise.new_zeros(len(prior), *mask.shape[1:])
    found = space.values(space.improve(start, matrix, vector, CONSENSUS_STEPS))
    return torch.cat([mean, found[:, 1:]], dim=1)

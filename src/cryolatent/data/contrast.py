"""Whether particles are dark: evidence from the images themselves."""

import warnings

import torch

from cryolatent.data.stack import ParticleStack
from cryolatent.errors import InputWarning
from cryolatent.physics import disc_to_images, shift_phases

IMAGES, CHUNK = 1000, 64
FEWEST, CENTRE, EDGE = 16, 0.5, 0.9
DOUBT = -3.0
"""Standard errors beyond which it is said that particles look dark."""


def contrast_score(stack: ParticleStack) -> float | None:
    """How bright particles are against their background once phases are flipped.

    Images are multiplied by the sign of their transfer functions and centred; the mean of the
    inner half of the box less that of what is beyond 0.9 of it is averaged over the images of up to
    1,000 particles.

    Args:
        stack: The particles.

    Returns:
        That average in standard errors: negative for dark particles. None of fewer than 16
        images.
    """
    if len(stack) < FEWEST:
        return None
    picked = torch.linspace(0, len(stack) - 1, min(len(stack), IMAGES)).long()
    axis = torch.arange(stack.disc.box) - stack.disc.box // 2
    distance = torch.sqrt((axis[:, None] ** 2 + axis**2).float()) / (stack.disc.box / 2)
    inside, outside = distance < CENTRE, distance > EDGE
    differences = []
    for index in picked.split(CHUNK):
        rows, owner = stack.observations(index)
        ctf = stack.ctf[rows]
        shifts = stack.poses[rows].shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        flip = ctf.evaluate(stack.disc.cycles_per_pixel).sign()
        centred = flip * shift_phases(stack.disc, -shifts)
        images = disc_to_images(stack.evidence(rows, owner).images * centred, stack.disc)
        scale = images[:, outside].std(dim=1)
        difference = images[:, inside].mean(dim=1) - images[:, outside].mean(dim=1)
        differences.append(difference / scale)
    values = torch.cat(differences).double()
    return float(values.mean() / (values.std() / len(values) ** 0.5).clamp(min=1e-12))


def contrast_evidence(score: float) -> str:
    """Say what the contrast is judged by.

    Args:
        score: What `contrast_score` found.

    Returns:
        A clause.
    """
    side = "below" if score < 0 else "above"
    return f"phase-flipped centres are {abs(score):.1f} standard errors {side} the background"


def warn_of_contrast(stack: ParticleStack) -> None:
    """Say if particles look dark.

    Args:
        stack: The particles, as they are about to be used.
    """
    score = contrast_score(stack)
    if score is not None and score < DOUBT:
        warnings.warn(
            f"{stack.source}: particles look dark ({contrast_evidence(score)}), so maps of them "
            "will be negative. Give `invert_contrast=True`, or leave it out if it was given",
            InputWarning,
            stacklevel=2,
        )

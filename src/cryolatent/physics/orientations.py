"""Uniform grids of orientations and of displacements.

Orientations are a product: views from the centres of an equal-area grid of the sphere, each with
turns in the image's plane. The plane's turn by 180° conjugates a slice, so that only turns below
180° are kept, and each stands for two orientations.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.physics.poses import Poses

HALF_TURN = (-1.0, -1.0, 1.0)
"""What a half turn in the image's plane multiplies the rows of a rotation R by."""

CELL = 12**-0.5
"""Standard deviation of the turn about an axis within a cell of a grid, over the spacing."""


def sphere_grid(divisions: int) -> Float[Tensor, "v 2"]:
    """The centres of HEALPix pixels: ``12 divisions²`` directions that share the sphere equally.

    Args:
        divisions: Of each side of the twelve base pixels (Nside); any number.

    Returns:
        Angle from the pole and longitude, in degrees, ring by ring.

    Source:
        Górski et al. 2005, doi:10.1086/427976, eqs. 4-9.
    """
    caps, belts = [], []
    for ring in range(1, divisions):
        steps = (torch.arange(4 * ring).double() + 0.5) * 90 / ring
        height = 1 - ring**2 / (3 * divisions**2)
        caps.append((height, steps))
    for ring in range(divisions, 3 * divisions + 1):
        offset = 0.5 * ((ring - divisions + 1) % 2)
        steps = (torch.arange(4 * divisions).double() + offset) * 90 / divisions
        belts.append((4 / 3 - 2 * ring / (3 * divisions), steps))
    rings = [*caps, *belts, *((-height, steps) for height, steps in reversed(caps))]
    heights = torch.cat([torch.full_like(steps, height) for height, steps in rings])
    polar = torch.rad2deg(torch.acos(heights.clamp(-1, 1)))
    return torch.stack([polar, torch.cat([steps for _, steps in rings])], dim=-1)


@dataclass(frozen=True)
class OrientationGrid:
    """Orientations at about equal distances, uniform over SO(3).

    Args:
        spacing_degrees: Distance of neighbours, at most; along the sphere and in the plane.
    """

    spacing_degrees: float

    @property
    def divisions(self) -> int:
        """Of the sphere's base pixels: a pixel's side is about ``58.6° / divisions``."""
        side = (4 * torch.pi / 12) ** 0.5
        return max(1, ceil(side * 180 / torch.pi / self.spacing_degrees - 1e-6))

    @property
    def turns(self) -> int:
        """Turns in the plane from 0° up to below 180°."""
        return ceil(180 / self.spacing_degrees - 1e-6)

    @cached_property
    def rotations(self) -> Float[Tensor, "o 3 3"]:
        """Rotations R whose turns in the plane are below 180°; view by view."""
        views, turns = sphere_grid(self.divisions), torch.arange(self.turns) * (180 / self.turns)
        polar, longitude = (column.repeat_interleave(len(turns)) for column in views.unbind(-1))
        # Hopf coordinates: turns count from the longitude, else they would gather at the poles
        spin = turns.repeat(len(views)) - longitude
        angles = torch.stack([longitude, polar, spin], dim=-1)
        return Poses.from_relion(angles, torch.zeros(len(angles), 2).double()).rotations.float()

    def __len__(self) -> int:
        """The number of orientations, half turns included."""
        return 2 * len(self.rotations)

    def at(self, index: Int[Tensor, "*n"]) -> Float[Tensor, "*n 3 3"]:
        """Orientations by number.

        Args:
            index: Positions in `rotations`; those of their half turns follow after all of them.

        Returns:
            Rotations R.
        """
        rotations = self.rotations.to(index.device)
        half, which = index // len(rotations), index % len(rotations)
        sign = rotations.new_tensor([[1.0, 1.0, 1.0], HALF_TURN])
        return sign[half][..., :, None] * rotations[which]


def shift_grid(reach_pixels: float, step_pixels: float) -> Float[Tensor, "s 2"]:
    """Displacements on a square grid inside a circle, nothing moved among them.

    Args:
        reach_pixels: Radius of the circle.
        step_pixels: Distance of neighbours.

    Returns:
        Displacements (x, y) in pixels.
    """
    most = int(reach_pixels / step_pixels + 1e-6)
    axis = torch.arange(-most, most + 1).float() * step_pixels
    points = torch.cartesian_prod(axis, axis)
    return points[points.norm(dim=-1) <= reach_pixels + 1e-6]

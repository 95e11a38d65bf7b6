"""Paths through latent space that have known ways."""

import numpy as np
import pytest
import torch

from cryolatent.analysis.paths import (
    along,
    place_named,
    populated_path,
    principal_path,
    read_points,
)
from cryolatent.errors import InputError
from cryolatent.models import DiagonalNormal
from cryolatent.models.latents import Latents


def arc(count: int = 1500) -> torch.Tensor:
    """Particles on three quarters of a circle."""
    generator = torch.Generator().manual_seed(0)
    angle = 1.5 * torch.pi * torch.rand(count, generator=generator)
    ring = torch.stack([angle.cos(), angle.sin()], dim=-1)
    return ring + 0.03 * torch.randn(count, 2, generator=generator)


def latents_of(z: torch.Tensor) -> Latents:
    zeros = torch.zeros(len(z))
    ids = np.array([f"{row:06d}@a.mrcs" for row in range(len(z))])
    return Latents(ids, DiagonalNormal(z, torch.zeros_like(z)), zeros, zeros)


def test_steps_along_a_polygon_are_even() -> None:
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    expected = torch.tensor([[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]).float()
    torch.testing.assert_close(along(corners, 5), expected)


def test_a_principal_axis_ends_where_few_particles_lie_beyond() -> None:
    z = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([3, 1, 0.1])
    direction = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))[0]
    ends = principal_path(z @ direction.T + 5, 0)
    torch.testing.assert_close(ends.mean(0), torch.full((3,), 5.0), atol=0.2, rtol=0)
    step = ends[1] - ends[0]
    assert float(step.norm()) == pytest.approx(2 * 1.645 * 3, rel=0.05)
    assert abs(float(step @ direction[:, 0])) == pytest.approx(float(step.norm()), rel=0.01)
    with pytest.raises(InputError, match="0 to 2"):
        principal_path(z, 3)


def test_a_populated_path_goes_around_what_is_empty() -> None:
    ends = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    path = along(populated_path(arc(), ends), 30)
    torch.testing.assert_close(path[[0, -1]], ends)
    assert ((path.norm(dim=-1) - 1).abs() < 0.12).all()
    straight = along(ends, 30)
    assert straight.norm(dim=-1).min() < 0.75
    assert (path[15] - torch.tensor([-0.7071, 0.7071])).norm() < 0.25


def test_a_populated_path_crosses_a_gap_where_it_is_narrowest() -> None:
    """Two clouds without a link, and copies of one particle, still have a path."""
    generator = torch.Generator().manual_seed(3)
    clouds = [0.1 * torch.randn(200, 2, generator=generator) + x for x in (0.0, 3.0)]
    z = torch.cat([*clouds, clouds[0][:1].repeat(40, 1)])
    path = populated_path(z, torch.stack([clouds[0][0], clouds[1][0]]))
    assert torch.isfinite(path).all()
    torch.testing.assert_close(path[-1], clouds[1][0])


def test_places_are_particles_or_numbers() -> None:
    latents = latents_of(arc(20))
    torch.testing.assert_close(
        place_named(latents, "000007@a.mrcs", "from"), latents.distribution.mean[7]
    )
    torch.testing.assert_close(place_named(latents, "0.5, -1", "to"), torch.tensor([0.5, -1.0]))
    points = read_points(latents, ["0,0", "", "000003@a.mrcs\n"], "points.txt")
    torch.testing.assert_close(points[1], latents.distribution.mean[3])
    for wrong in ("0.5", "nan,1", "somebody"):
        with pytest.raises(InputError, match=r"particle such as 000000@a.mrcs, or 2 numbers"):
            place_named(latents, wrong, "from")
    with pytest.raises(InputError, match=r"points.txt: found 1 place; expected at least two"):
        read_points(latents, ["0,0"], "points.txt")

"""What is said of stacks that hold too little."""

from pathlib import Path

import pytest
import roma
import torch

from builders import random_rotations, small_stack
from cryolatent.data.adequacy import too_little, unseen_directions


def test_views_from_everywhere_leave_nothing_unseen() -> None:
    assert unseen_directions(random_rotations(2000)) == 0


@pytest.mark.parametrize("degrees", [0.0, 5.0, 30.0])
def test_views_along_an_axis_leave_a_cone_unseen(degrees: float) -> None:
    """All within so many degrees of one axis: unseen is the cone of 90 degrees less about it."""
    tilt = torch.deg2rad(torch.tensor(degrees)) * torch.rand(5000).sqrt()
    about = 2 * torch.pi * torch.rand(5000)
    tilts = torch.stack([tilt * about.cos(), tilt * about.sin(), torch.zeros(5000)], dim=1)
    spins = torch.zeros(5000, 3)
    spins[:, 2] = 2 * torch.pi * torch.rand(5000)
    rotations = roma.rotvec_to_rotmat(spins) @ roma.rotvec_to_rotmat(tilts)
    # within 90 - degrees of the axis, less what a view's own width fills
    edge = torch.deg2rad(torch.tensor(90 - degrees)) - torch.arcsin(torch.tensor(0.05))
    assert unseen_directions(rotations) == pytest.approx(float(1 - edge.cos()), abs=0.03)


def test_few_particles_are_told(tmp_path: Path) -> None:
    stack = small_stack(tmp_path / "data", particles=12)
    few, views = too_little(stack)
    assert few.startswith("12 particles are few")
    assert "of all directions" in views

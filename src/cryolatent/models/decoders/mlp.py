"""The coordinate network: a point of Fourier space and a latent in, a complex value out."""

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from cryolatent.models.decoders.base import Decoder
from cryolatent.models.layers import ResidualMlp
from cryolatent.physics import (
    ALL_COEFFICIENTS,
    FourierDisc,
    Poses,
    half_space_to_volume,
    in_canonical_half,
    lattice_half_space,
)

POINTS_AT_ONCE = 2048
"""What runs through all layers together, so that the activations of a layer stay in a core's
cache; whole images in training."""


class MlpDecoder(Decoder):
    """A residual network over positional encodings, evaluated in one canonical half-space.

    ``V(k, z) = a(|k|) f(γ(k), z)`` for k in the half-space of `in_canonical_half` and
    ``V(-k, z) = V(k, z)*``, so every volume is real. γ holds the sines and cosines of ``k_j D π
    (2 / D)^{i / (D/2 - 1)}`` for the components k_j in cycles per pixel and ``i = 0 ... D/2 - 1``.
    The fixed amplitude a, one number per shell, lets the network work with values near one.

    Args:
        disc: The coefficients that slices hold.
        z_dim: Number of latent dimensions.
        amplitude: Expected root mean square of the volume's coefficients, shells 0 to
            ``disc.radius``.
        width: Units per layer.
        layers: Hidden layers after the first.
        precision: Type of the activations; weights and what enters and leaves are float32.

    Source:
        Zhong et al. 2021, doi:10.1038/s41592-020-01049-4; encoding: Edelberg and Lederman 2023,
        YALEU/TR-1565, eq. 21.
    """

    def __init__(
        self,
        disc: FourierDisc,
        z_dim: int,
        amplitude: Float[Tensor, " shells"],
        *,
        width: int = 256,
        layers: int = 3,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.disc, self.z_dim, self.precision = disc, z_dim, precision
        self.encode = GeometricEncoding(disc.box)
        self.from_point = nn.Linear(self.encode.size, width)
        self.from_latent = nn.Linear(z_dim, width, bias=False)
        self.hidden = ResidualMlp(width, layers)
        self.output = nn.Linear(width, 2)
        self.register_buffer("amplitude", amplitude.clone())
        self.amplitude: Tensor

    def slices(self, z: Float[Tensor, "obs zdim"], poses: Poses | None) -> Complex[Tensor, "obs k"]:
        """Central slices of each latent's volume, before transfer function and shift."""
        return self.slices_at(z, poses, ALL_COEFFICIENTS.index)

    def slices_at(
        self,
        z: Float[Tensor, "obs zdim"],
        poses: Poses | None,
        index: Int[Tensor, " k"] | slice,
    ) -> Complex[Tensor, "obs k"]:
        """Some coefficients of the slices, at a cost in proportion to their number."""
        if poses is None:
            raise ValueError("slices need poses")
        points = self.disc.coordinates[index] @ poses.rotations[:, :2, :]
        sign = torch.where(in_canonical_half(points), 1.0, -1.0)
        values = self._evaluate(points * sign[..., None], z)
        amplitude = self.amplitude[self.disc.shells[index]]
        return torch.complex(values[..., 0] * amplitude, values[..., 1] * (amplitude * sign))

    def volume(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n z y x"]:
        """Real volumes."""
        points, shells = lattice_half_space(self.disc.box, self.disc.radius)
        volumes = []
        for latent in z:
            values = torch.cat(
                [
                    self._evaluate(part[None], latent[None])[0]
                    for part in points.float().split(POINTS_AT_ONCE)
                ]
            )
            transform = torch.view_as_complex(values.contiguous()) * self.amplitude[shells]
            volumes.append(half_space_to_volume(transform, points, self.disc.box))
        return torch.stack(volumes)

    def _evaluate(
        self, points: Float[Tensor, "obs p 3"], z: Float[Tensor, "obs zdim"]
    ) -> Float[Tensor, "obs p 2"]:
        of_latent = self.from_latent(z) + self.from_point.bias
        at_once = max(1, POINTS_AT_ONCE // points.shape[1])
        parts = zip(points.split(at_once), of_latent.split(at_once), strict=True)
        return torch.cat([self._network(*part) for part in parts])

    def _network(
        self, points: Float[Tensor, "obs p 3"], of_latent: Float[Tensor, "obs width"]
    ) -> Float[Tensor, "obs p 2"]:
        encoded = self.encode(points.flatten(0, 1)).to(self.precision)
        first = linear(encoded, self.from_point.weight.to(self.precision))
        first = first.unflatten(0, points.shape[:2]) + of_latent.to(self.precision)[:, None]
        hidden = self.hidden(first.relu_().flatten(0, 1))
        values = linear(hidden, self.output.weight.to(self.precision)).float() + self.output.bias
        return values.unflatten(0, points.shape[:2])


class GeometricEncoding(nn.Module):
    """Sines and cosines of a point's components at geometrically spaced wavelengths.

    Args:
        box: Side D of the box; periods run from 2 to D voxels of Fourier space.
    """

    def __init__(self, box: int) -> None:
        super().__init__()
        count = box // 2
        steps = torch.arange(count) / (count - 1)
        frequencies = torch.pi * (2 / box) ** steps
        matrix = torch.kron(torch.eye(3), frequencies[None])
        quarter = torch.full((3 * count,), torch.pi / 2)
        self.register_buffer("matrix", torch.cat([matrix, matrix], dim=1), persistent=False)
        self.register_buffer("offset", torch.cat([0 * quarter, quarter]), persistent=False)
        self.matrix: Tensor
        self.offset: Tensor
        self.size = 6 * count

    def forward(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n size"]:
        """Encode points.

        Args:
            points: Positions (x, y, z) in cycles per box.

        Returns:
            Sines, then cosines, as sines a quarter of a turn on.
        """
        return linear(points, self.matrix.T, self.offset).sin_()

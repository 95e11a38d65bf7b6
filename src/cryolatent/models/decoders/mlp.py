"""Coordinate networks: a point of Fourier space and a latent in, the volume's transform out."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from cryolatent.models.decoders.base import Decoder
from cryolatent.models.decoders.encodings import (
    Coordinates,
    Encoding,
    GaussianEncoding,
    GeometricEncoding,
)
from cryolatent.models.decoders.options import MlpOptions
from cryolatent.models.layers import PlainMlp, ResidualMlp
from cryolatent.models.setting import Setting
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


class CoordinateDecoder(Decoder):
    """A network f over encoded points γ(k), whose values are those of the volume's transform.

    The fixed amplitude a(|k|), one number per shell, lets the network work with values near one.

    Args:
        disc: The coefficients that slices hold.
        z_dim: Number of latent dimensions.
        amplitude: Expected root mean square of the volume's coefficients, shells 0 to
            ``disc.radius``.
        width: Units per layer.
        layers: Hidden layers after the first.
        precision: Type of the activations; weights and what enters and leaves are float32.
        encoding: How points enter; `GeometricEncoding` if left out.
        hidden: Shape of the hidden layers.

    Source:
        Zhong et al. 2021, doi:10.1038/s41592-020-01049-4.
    """

    outputs: int
    """Real numbers that the network gives at a point."""

    def __init__(
        self,
        disc: FourierDisc,
        z_dim: int,
        amplitude: Float[Tensor, " shells"],
        *,
        width: int = 256,
        layers: int = 3,
        precision: torch.dtype = torch.float32,
        encoding: Encoding | None = None,
        hidden: type[ResidualMlp] | type[PlainMlp] = ResidualMlp,
    ) -> None:
        super().__init__()
        self.disc, self.z_dim, self.precision = disc, z_dim, precision
        self.encode = encoding or GeometricEncoding(disc.box)
        self.from_point = nn.Linear(self.encode.size, width)
        self.from_latent = nn.Linear(z_dim, width, bias=False)
        self.hidden = hidden(width, layers)
        self.output = nn.Linear(width, self.outputs)
        self.register_buffer("amplitude", amplitude.clone())
        self.amplitude: Tensor

    @staticmethod
    def build(options: MlpOptions, setting: Setting) -> "CoordinateDecoder":
        """A network in the scale of the data's spectra, complex or Hartley."""
        return OUTPUTS[options.decoder_output](
            setting.disc,
            setting.z_dim,
            setting.spectra.signal_amplitude,
            width=options.decoder_width,
            layers=options.decoder_layers,
            precision=PRECISIONS[options.precision],
            encoding=ENCODINGS[options.decoder_encoding](setting.disc.box, setting.seed),
            hidden=ResidualMlp if options.decoder_residual else PlainMlp,
        )

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
        disc = self.disc.to(z.device)
        points = disc.coordinates[index] @ poses.rotations[:, :2, :]
        return self._transform(points, z, self.amplitude[disc.shells[index]])

    def volume(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n z y x"]:
        """Real volumes."""
        points, shells = (
            t.to(z.device) for t in lattice_half_space(self.disc.box, self.disc.radius)
        )
        amplitude, volumes = self.amplitude[shells], []
        for latent in z:
            parts = [
                self._transform(points[part].float()[None], latent[None], amplitude[part])[0]
                for part in torch.arange(len(points)).split(POINTS_AT_ONCE)
            ]
            volumes.append(half_space_to_volume(torch.cat(parts), points, self.disc.box))
        return torch.stack(volumes)

    @abstractmethod
    def _transform(
        self,
        points: Float[Tensor, "obs p 3"],
        z: Float[Tensor, "obs zdim"],
        amplitude: Float[Tensor, " p"],
    ) -> Complex[Tensor, "obs p"]:
        """The volumes' transforms at some points of given amplitudes."""

    def _evaluate(
        self, points: Float[Tensor, "obs p 3"], z: Float[Tensor, "obs zdim"]
    ) -> Float[Tensor, "obs p outputs"]:
        of_latent = self.from_latent(z) + self.from_point.bias
        at_once = max(1, POINTS_AT_ONCE // points.shape[1])
        parts = zip(points.split(at_once), of_latent.split(at_once), strict=True)
        return torch.cat([self._network(*part) for part in parts])

    def _network(
        self, points: Float[Tensor, "obs p 3"], of_latent: Float[Tensor, "obs width"]
    ) -> Float[Tensor, "obs p outputs"]:
        encoded = self.encode(points.flatten(0, 1)).to(self.precision)
        first = linear(encoded, self.from_point.weight.to(self.precision))
        first = first.unflatten(0, points.shape[:2]) + of_latent.to(self.precision)[:, None]
        hidden = self.hidden(first.relu_().flatten(0, 1))
        values = linear(hidden, self.output.weight.to(self.precision)).float() + self.output.bias
        return values.unflatten(0, points.shape[:2])


class MlpDecoder(CoordinateDecoder):
    """A coordinate network of complex values, evaluated in one canonical half-space.

    ``V(k, z) = a(|k|) f(γ(k), z)`` for k in the half-space of `in_canonical_half` and
    ``V(-k, z) = V(k, z)*``, so every volume is real.
    """

    outputs = 2

    def _transform(
        self,
        points: Float[Tensor, "obs p 3"],
        z: Float[Tensor, "obs zdim"],
        amplitude: Float[Tensor, " p"],
    ) -> Complex[Tensor, "obs p"]:
        sign = torch.where(in_canonical_half(points), 1.0, -1.0)
        values = self._evaluate(points * sign[..., None], z)
        return torch.complex(values[..., 0] * amplitude, values[..., 1] * (amplitude * sign))


class HartleyDecoder(CoordinateDecoder):
    """A coordinate network of real values, the volume's Hartley transform, at both signs of k.

    ``H(k, z) = Re V - Im V = a(|k|) f(γ(k), z)``, hence ``V(k) = ½ (H(k) + H(-k)) +
    ½ i (H(-k) - H(k))``: every volume is real whatever the network, which is evaluated twice for
    each coefficient.
    """

    outputs = 1

    def _transform(
        self,
        points: Float[Tensor, "obs p 3"],
        z: Float[Tensor, "obs zdim"],
        amplitude: Float[Tensor, " p"],
    ) -> Complex[Tensor, "obs p"]:
        values = self._evaluate(torch.cat([points, -points], dim=1), z)[..., 0]
        here, opposite = values.unflatten(1, (2, -1)).mul(0.5 * amplitude).unbind(1)
        return torch.complex(here + opposite, opposite - here)


OUTPUTS: dict[str, type[CoordinateDecoder]] = {"fourier": MlpDecoder, "hartley": HartleyDecoder}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ENCODINGS: dict[str, Callable[[int, int], Encoding]] = {
    "geom_lowf": lambda box, seed: GeometricEncoding(box),
    "gaussian": GaussianEncoding,
    "none": lambda box, seed: Coordinates(box),
}

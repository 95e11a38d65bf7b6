"""The subspace decoder: a few volumes, weighted by functions of the latent."""

from collections.abc import Callable

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from cryolatent.models.decoders.base import Decoder
from cryolatent.models.decoders.coefficients import (
    COEFFICIENTS,
    CoefficientMap,
    Linear,
    Shares,
)
from cryolatent.models.decoders.options import SubspaceOptions, VolumesOptions
from cryolatent.models.setting import Setting
from cryolatent.physics import (
    ALL_COEFFICIENTS,
    FourierDisc,
    FourierLattice,
    Interpolation,
    Poses,
    slice_lattice,
)

START = 0.1


class SubspaceDecoder(Decoder):
    """``V_z = Σ_c a_c(z) U_c``, sampled by interpolation on an oversampled Fourier lattice.

    An image costs a few interpolations instead of a network's evaluation at every coefficient.
    With the coefficient map `Linear` the posterior of z is known in closed form
    (`cryolatent.models.ExactGaussian`), with `Shares` that of K states (`Categorical`).

    Args:
        disc: The coefficients that slices hold.
        coefficients: The weights a(z).
        amplitude: Expected root mean square of the volumes' coefficients, shells 0 to
            ``disc.radius``; scales the start.
        interpolation: How slices are read; expectation maximisation takes the nearest voxel, whose
            normal equations are exact.

    Source:
        Tagare et al. 2015, doi:10.1016/j.jsb.2015.05.007; Gilles and Singer 2025,
        doi:10.1073/pnas.2419140122.
    """

    def __init__(
        self,
        disc: FourierDisc,
        coefficients: CoefficientMap,
        amplitude: Float[Tensor, " shells"],
        *,
        interpolation: Interpolation = Interpolation.TRILINEAR,
    ) -> None:
        super().__init__()
        self.disc, self.z_dim = disc, coefficients.z_dim
        self.coefficients, self.interpolation = coefficients, interpolation
        self.lattice = FourierLattice(disc)
        self.register_buffer("scale", self._unit(amplitude))
        self.scale: Tensor
        start = torch.randn(coefficients.size, *(disc.box,) * 3) * START
        if not isinstance(coefficients, Shares):
            start[0] = 0
        self.volumes = nn.Parameter(start)
        self._kept: tuple[int, Tensor] | None = None

    @classmethod
    def build(
        cls, options: SubspaceOptions | VolumesOptions, setting: Setting
    ) -> "SubspaceDecoder":
        """Volumes in the scale of the data's spectra."""
        return cls(
            setting.disc,
            COEFFICIENTS[options.coefficients](setting.z_dim),
            setting.spectra.signal_amplitude,
            interpolation=Interpolation[(options.interpolation or "trilinear").upper()],
        )

    def take_volumes(self, other: Decoder) -> bool:
        """The volumes of another linear subspace of as many dimensions."""
        if not isinstance(other, SubspaceDecoder) or self.volumes.shape != other.volumes.shape:
            return False
        if not all(isinstance(decoder.coefficients, Linear) for decoder in (self, other)):
            return False
        self.set_volumes(other.volumes * other.scale)
        return True

    def slices(self, z: Float[Tensor, "obs zdim"], poses: Poses | None) -> Complex[Tensor, "obs k"]:
        """Central slices of each latent's volume, before transfer function and shift."""
        return self.renderer(poses, ALL_COEFFICIENTS.index)(z)

    def renderer(
        self, poses: Poses | None, index: Int[Tensor, " k"] | slice
    ) -> Callable[[Float[Tensor, "obs zdim"]], Complex[Tensor, "obs k"]]:
        """`slices_at` for many latents at the same poses: the volumes are sliced once."""
        components = self.components(poses)[:, index]

        def render(z: Float[Tensor, "obs zdim"]) -> Complex[Tensor, "obs k"]:
            weights = self.coefficients(z).to(components.dtype)
            return (components @ weights[..., None])[..., 0]

        return render

    def components(self, poses: Poses | None) -> Complex[Tensor, "obs k c"]:
        """Central slices of every volume.

        Args:
            poses: One pose per observation.

        Returns:
            Coefficients of the decoder's disc.

        Raises:
            ValueError: If there are no poses.
        """
        if poses is None:
            raise ValueError("slices need poses")
        lattice = self.lattice.to(self.volumes.device)
        return slice_lattice(self.at_voxels(), poses.rotations, lattice, self.interpolation)

    def volume(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n z y x"]:
        """Real volumes."""
        return torch.einsum("nc,czyx->nzyx", self.coefficients(z), self.volumes * self.scale)

    @torch.no_grad()
    def set_volumes(self, volumes: Float[Tensor, "c z y x"]) -> None:
        """Replace the volumes.

        Args:
            volumes: One per coefficient, in the scale of the images.
        """
        self.volumes.copy_(volumes / self.scale)

    def at_voxels(self) -> Complex[Tensor, "v c"]:
        """The volumes on the lattice; kept while they do not change and need no gradient.

        Returns:
            Fourier values at the voxels, as `interpolation` wants them.
        """
        if torch.is_grad_enabled() and self.volumes.requires_grad:
            return self._transform()
        version = self.volumes._version
        moved = self._kept is not None and self._kept[1].device != self.volumes.device
        if self._kept is None or moved or self._kept[0] != version:
            self._kept = version, self._transform()
        return self._kept[1]

    def _transform(self) -> Complex[Tensor, "v c"]:
        # nearest voxels are fitted as means over their cells, which attenuates the volume;
        # trilinear ones attenuate when they are read, which is divided out beforehand
        power = -1 if self.interpolation is Interpolation.NEAREST else 2
        lattice = self.lattice.to(self.volumes.device)
        return lattice.from_volumes(self.volumes * self.scale, power)

    def _unit(self, amplitude: Float[Tensor, " shells"]) -> Float[Tensor, ""]:
        """The voxel value at which white volumes have the expected amplitude on average."""
        return amplitude[1:].square().mean().sqrt() / self.disc.box**0.5

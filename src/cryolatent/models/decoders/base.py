"""What every decoder can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float, Inexact, Int
from torch import Tensor, nn

from cryolatent.physics import Poses


class Decoder(nn.Module, ABC):
    """Renders latents: as slices for the likelihood, as volumes for people."""

    z_dim: int

    def take_volumes(self, other: "Decoder") -> bool:
        """Begin with another decoder's volumes, where both are of one form.

        Args:
            other: The other decoder.

        Returns:
            Whether they were taken; by default not.
        """
        return False

    @abstractmethod
    def slices(self, z: Float[Tensor, "obs zdim"], poses: Poses | None) -> Inexact[Tensor, "obs k"]:
        """Central slices of each latent's volume, before transfer function and shift.

        Args:
            z: One latent per observation.
            poses: One pose per observation, for decoders that need them; shifts do not matter.

        Returns:
            Coefficients of the decoder's disc (or pixels).

        Raises:
            ValueError: If the decoder needs poses and there are none.
        """

    def slices_at(
        self,
        z: Float[Tensor, "obs zdim"],
        poses: Poses | None,
        index: Int[Tensor, " k"] | slice,
    ) -> Inexact[Tensor, "obs k"]:
        """Some coefficients of `slices`; for decoders that can, cheaper than all.

        Args:
            z: One latent per observation.
            poses: One pose per observation, for decoders that need them.
            index: Positions in the decoder's disc.

        Returns:
            Those coefficients.

        Raises:
            ValueError: If the decoder needs poses and there are none.
        """
        return self.slices(z, poses)[..., index]

    def renderer(
        self, poses: Poses | None, index: Int[Tensor, " k"] | slice
    ) -> Callable[[Float[Tensor, "obs zdim"]], Inexact[Tensor, "obs k"]]:
        """`slices_at` for many latents at the same poses; decoders that can do their share once.

        Args:
            poses: One pose per observation, for decoders that need them.
            index: Positions in the decoder's disc.

        Returns:
            A function of one latent per observation, differentiable as `slices_at`.
        """
        return lambda z: self.slices_at(z, poses, index)

    @abstractmethod
    def volume(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n z y x"]:
        """Real volumes.

        Args:
            z: Latents.

        Returns:
            One volume per latent, centred on voxel ``box / 2``.
        """

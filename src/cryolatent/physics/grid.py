"""Fourier images: the half-plane coefficients of a real image inside a disc, each counted once."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

CPU = torch.device("cpu")


@dataclass(frozen=True)
class FourierDisc:
    """The independent Fourier coefficients of a real `box` x `box` image up to shell `radius`.

    A coefficient belongs to shell ``round(|k|)``. Shells 1 to `radius` are kept; of each pair
    ``k, -k`` only the one with ``kx > 0``, or ``kx = 0`` and ``ky > 0``. DC is left out: it is real
    and carries the background, not the particle.

    Args:
        box: Side of the image in pixels, even.
        radius: Last shell kept, at most ``box / 2 - 1``.
        device: Where its tensors lie.
        by_shell: Whether coefficients come shell by shell, so that those of a smaller disc come
            first; else row by row.

    Raises:
        ValueError: If the box is odd or the radius is outside ``1 ... box / 2 - 1``.
    """

    box: int
    radius: int
    device: torch.device = CPU
    by_shell: bool = False

    def __post_init__(self) -> None:
        if self.box % 2 or not 1 <= self.radius <= self.box // 2 - 1:
            raise ValueError(
                f"box {self.box}, radius {self.radius}: the box must be even and the radius "
                f"between 1 and {self.box // 2 - 1}"
            )

    def to(self, device: torch.device) -> "FourierDisc":
        """The same coefficients on another device.

        Args:
            device: Where the tensors are to lie.

        Returns:
            One disc for each device, so that its tensors are made once.
        """
        return self if device == self.device else _disc(replace(self, device=device))

    def within(self, radius: int) -> "FourierDisc":
        """Fewer shells.

        Args:
            radius: Last shell kept.

        Returns:
            Their coefficients, in the same order.
        """
        return replace(self, radius=radius)

    @cached_property
    def coordinates(self) -> Float[Tensor, "k 2"]:
        """Coefficients' positions (kx, ky) in cycles per box."""
        if self.device != CPU:
            return self.to(CPU).coordinates.to(self.device)
        ky, kx = torch.meshgrid(
            torch.arange(-self.radius, self.radius + 1),
            torch.arange(0, self.radius + 1),
            indexing="ij",
        )
        shell = torch.sqrt((kx**2 + ky**2).double()).round()
        keep = (shell <= self.radius) & ((kx > 0) | ((kx == 0) & (ky > 0)))
        coordinates = torch.stack([kx[keep], ky[keep]], dim=-1).float()
        return coordinates[shell[keep].argsort(stable=True)] if self.by_shell else coordinates

    @property
    def by_shell_order(self) -> Int[Tensor, " k"]:
        """Where in this disc, which is row by row, the coefficients of one by shell stand."""
        return self.shells.argsort(stable=True)

    @cached_property
    def shells(self) -> Int[Tensor, " k"]:
        """Each coefficient's shell, ``round(|k|)``."""
        if self.device != CPU:
            return self.to(CPU).shells.to(self.device)
        return torch.linalg.vector_norm(self.coordinates.double(), dim=-1).round().long()

    @cached_property
    def cycles_per_pixel(self) -> Float[Tensor, "k 2"]:
        """Coefficients' positions (kx, ky) in cycles per pixel."""
        return self.coordinates / self.box

    @cached_property
    def size(self) -> int:
        """The number of coefficients."""
        return self.to(CPU).coordinates.shape[0]

    def shell_mean(self, values: Float[Tensor, "... k"]) -> Float[Tensor, "... shells"]:
        """Average values over each shell; index 0 (DC) holds zero.

        Args:
            values: One value per coefficient.

        Returns:
            Means of shells 0 to `radius`.
        """
        return self.shell_sum(values) / self.to(values.device).shell_count().clamp(min=1)

    def shell_sum(
        self, values: Float[Tensor, "... k"], index: Int[Tensor, " k"] | slice = slice(None)
    ) -> Float[Tensor, "... shells"]:
        """Add up values in each shell.

        Args:
            values: One value per coefficient.
            index: Which coefficients they belong to.

        Returns:
            Sums of shells 0 to `radius`.
        """
        total = values.new_zeros(*values.shape[:-1], self.radius + 1)
        return total.index_add(-1, self.to(values.device).shells[index], values)

    def shell_count(self, index: Int[Tensor, " k"] | slice = slice(None)) -> Int[Tensor, " shells"]:
        """How many coefficients each shell holds.

        Args:
            index: The coefficients that count.

        Returns:
            Numbers for shells 0 to `radius`.
        """
        shells = self.shells[index]
        return shells.new_zeros(self.radius + 1).index_add(0, shells, torch.ones_like(shells))


@lru_cache(maxsize=64)
def _disc(disc: FourierDisc) -> FourierDisc:
    return disc


@dataclass(frozen=True)
class CoefficientSubset:
    """Some of a disc's coefficients, drawn to stand for more.

    Args:
        index: Positions in the disc; the slice of everything selects without a copy.
        weight: How many coefficients each one stands for.
    """

    index: Int[Tensor, " k"] | slice
    weight: float = 1.0


ALL_COEFFICIENTS = CoefficientSubset(slice(None))


def images_to_disc(images: Float[Tensor, "*n y x"], disc: FourierDisc) -> Complex[Tensor, "*n k"]:
    """Transform real images to the coefficients of a disc.

    The phase origin is pixel ``box / 2``; the transform is unitary, so white noise of variance v
    per pixel has variance v per complex coefficient.

    Args:
        images: Real images of side ``disc.box``.
        disc: The coefficients to keep.

    Returns:
        The coefficients.
    """
    transform = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)), norm="ortho")
    kx, ky = disc.to(images.device).coordinates.long().unbind(-1)
    return transform[..., ky % disc.box, kx]


def disc_to_images(
    coefficients: Complex[Tensor, "*n k"], disc: FourierDisc
) -> Float[Tensor, "*n y x"]:
    """Transform the coefficients of a disc to real images; the inverse of `images_to_disc`.

    Args:
        coefficients: Half-plane coefficients.
        disc: Where they belong.

    Returns:
        Real images without content outside the disc.
    """
    box = disc.box
    half = coefficients.new_zeros(*coefficients.shape[:-1], box, box // 2 + 1)
    kx, ky = disc.to(coefficients.device).coordinates.long().unbind(-1)
    half[..., ky % box, kx] = coefficients
    on_axis = kx == 0
    half[..., -ky[on_axis] % box, 0] = coefficients[..., on_axis].conj()
    return torch.fft.fftshift(torch.fft.irfft2(half, s=(box, box), norm="ortho"), dim=(-2, -1))


def shift_phases(
    disc: FourierDisc,
    shifts_pixels: Float[Tensor, "*n 2"],
    index: Int[Tensor, " k"] | slice = slice(None),
) -> Complex[Tensor, "*n k"]:
    """Phase factors ``exp(-2 pi i k.t)`` that move an image's content by t.

    Args:
        disc: Where the coefficients belong.
        shifts_pixels: Displacements (x, y) in pixels.
        index: Which of the disc's coefficients.

    Returns:
        One factor per coefficient.
    """
    phase = (
        -2
        * torch.pi
        * shifts_pixels
        @ disc.to(shifts_pixels.device).cycles_per_pixel[index].to(shifts_pixels).T
    )
    return torch.polar(torch.ones_like(phase), phase)

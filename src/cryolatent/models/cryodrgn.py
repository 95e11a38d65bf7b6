"""cryoDRGN's networks, as its weights define them: a decoder of volumes and an encoder of images.

Written from what its files and outputs show, and tested against volumes and latents that the
program itself made. With N the box, ``h = N / 2`` and ``u = k / N`` for whole frequencies k.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from cryolatent.data import Batch
from cryolatent.models.decoders.base import Decoder
from cryolatent.models.decoders.options import CryodrgnDecoderOptions
from cryolatent.models.distributions import DiagonalNormal
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.options import CryodrgnOptions
from cryolatent.models.setting import Setting
from cryolatent.physics import (
    ALL_COEFFICIENTS,
    CTF,
    FourierDisc,
    Poses,
    disc_to_images,
    in_canonical_half,
)

POINTS_AT_ONCE = 4096
WINDOW_END = 0.99
"""Share of half the box at which the window has fallen to zero."""
EDGE = 1e-3


class Layer(nn.Linear):
    """``W x + b``, plus x where both widths are equal."""

    def forward(
        self, input: Float[Tensor, "*n a"], more: Float[Tensor, "*#n b"] | None = None
    ) -> Float[Tensor, "*n c"]:
        """Apply the layer.

        Args:
            input: Its input, or the first part.
            more: The rest, which broadcasts.

        Returns:
            Values.
        """
        if self.in_features == self.out_features:
            if more is not None:
                more = more.expand(*input.shape[:-1], -1)
                input = torch.cat([input, more], dim=-1)
            return linear(input, self.weight, self.bias) + input
        if more is None:
            return linear(input, self.weight, self.bias)
        # a latent's share is the same at every point
        first, rest = self.weight.split([input.shape[-1], more.shape[-1]], dim=1)
        return linear(input, first, self.bias) + linear(more, rest)


class Network(nn.Module):
    """Layers with ReLU after all but the last.

    Args:
        widths: Numbers of units, from input to output.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(a, b) for a, b in pairwise(widths))

    def forward(
        self, x: Float[Tensor, "*n a"], more: Float[Tensor, "*#n b"] | None = None
    ) -> Float[Tensor, "*n c"]:
        """Apply the layers.

        Args:
            x: The input, or its first part.
            more: The rest, which broadcasts.

        Returns:
            The last layer's values.
        """
        x = self.layers[0](x, more)
        for layer in self.layers[1:]:
            x = layer(x.relu())
        return x


def network_tensors(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of a `Network` among those of cryoDRGN's weights.

    Args:
        state: ``model_state_dict``.
        prefix: What its layers' names begin with: layers are ``0``, ``2``, ``4`` ..., those that
            are added to their input ``2.linear`` ...

    Returns:
        Tensors by the names of `Network`.

    Raises:
        ValueError: If a layer is not added to its input though its widths are equal, or the other
            way round, or there is none.
    """
    found: dict[str, Tensor] = {}
    own = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    numbers = sorted({int(name.split(".")[0]) for name in own})
    for place, number in enumerate(numbers):
        added = f"{number}.linear.weight" in own
        stem = f"{number}.linear" if added else f"{number}"
        weight = own[f"{stem}.weight"]
        if added != (weight.shape[0] == weight.shape[1]):
            raise ValueError(f"layer {prefix}{stem} of shape {tuple(weight.shape)}")
        found[f"layers.{place}.weight"], found[f"layers.{place}.bias"] = weight, own[f"{stem}.bias"]
    if not found:
        raise ValueError(f"no layers {prefix}...")
    return found


def encoding_matrix(
    kind: str, box: int, count: int, drawn: Float[Tensor, "f 3"] | None = None
) -> Float[Tensor, "f 3"]:
    """What frequencies u are multiplied by before sines and cosines are taken.

    Args:
        kind: ``gaussian``: h times the frequencies that were drawn; ``geom_lowf``:
            ``h^(1 - j / (m - 1))`` for each axis; ``linear_lowf``: ``1 ... h`` for each axis.
        box: Side of the box.
        count: Number m of frequencies per axis.
        drawn: Those that were drawn.

    Returns:
        One row per phase.
    """
    half = box // 2
    if kind == "gaussian":
        return torch.zeros(3 * count, 3) if drawn is None else half * drawn
    steps = torch.arange(count).double()
    rates = half ** (1 - steps / (count - 1)) if kind == "geom_lowf" else 1 + steps
    return torch.kron(torch.eye(3).double(), rates[:, None]).float()


class CryodrgnDecoder(Decoder):
    """The volume's transform at a point and a latent.

    Two outputs a, b are ``V(k) = a + ib`` at ``k_z <= 0`` (on that plane at ``k_y <= 0``, on that
    line at ``k_x <= 0``), conjugated elsewhere; one output is the Hartley transform at every k.

    Args:
        disc: The coefficients that slices hold.
        z_dim: Number of latent dimensions.
        encoding: ``gaussian``, ``geom_lowf`` or ``linear_lowf``.
        frequencies: Frequencies per axis.
        width: Units per layer.
        layers: Hidden layers after the first.
        outputs: 2, or 1 of the Hartley transform.
        region: Where in Fourier space volumes are drawn: ``ball``, ``cube`` or ``planes``.
    """

    def __init__(
        self,
        disc: FourierDisc,
        z_dim: int,
        *,
        encoding: str = "gaussian",
        frequencies: int | None = None,
        width: int = 256,
        layers: int = 3,
        outputs: int = 2,
        region: str = "ball",
    ) -> None:
        super().__init__()
        self.disc, self.z_dim, self.outputs, self.region = disc, z_dim, outputs, region
        count = frequencies or disc.box // 2
        matrix = encoding_matrix(encoding, disc.box, count)
        # sines of a group, then its cosines, then the next group
        self.group = len(matrix) if encoding == "gaussian" else count
        size = 2 * len(matrix) + z_dim
        self.network = Network([size, *[width] * (layers + 1), outputs])
        self.register_buffer("matrix", matrix)
        self.register_buffer("scale", torch.ones(()))
        self.matrix: Tensor
        self.scale: Tensor

    @staticmethod
    def build(options: CryodrgnDecoderOptions, setting: Setting) -> "CryodrgnDecoder":
        """A network at a random start, which a checkpoint replaces."""
        return CryodrgnDecoder(
            setting.disc,
            setting.z_dim,
            encoding=options.decoder_encoding,
            frequencies=options.decoder_frequencies,
            width=options.decoder_width,
            layers=options.decoder_layers,
            outputs=2 if options.decoder_output == "fourier" else 1,
            region=options.decoder_region,
        )

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor], prefix: str, scale: float) -> None:
        """Take cryoDRGN's weights.

        Args:
            state: ``model_state_dict``.
            prefix: ``decoder.``, or nothing where there is no encoder.
            scale: The divisor of the images' transforms (``norm``).

        Raises:
            ValueError: If they are those of another network.
        """
        self.network.load_state_dict(network_tensors(state, f"{prefix}decoder.main."))
        drawn = state.get(f"{prefix}rand_freqs")
        if drawn is not None:
            self.matrix.copy_(self.disc.box // 2 * drawn)
        self.scale.fill_(scale)

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
        points = self.disc.to(z.device).coordinates[index] @ poses.rotations[:, :2, :]
        at_once = max(1, POINTS_AT_ONCE // max(1, points.shape[1]))
        parts = zip(points.split(at_once), z.split(at_once), strict=True)
        # transforms of images are unitary here and sums there
        return torch.cat([self._transform(*part) for part in parts]) / self.disc.box

    @torch.no_grad()
    def volume(self, z: Float[Tensor, "n zdim"]) -> Float[Tensor, "n z y x"]:
        """Volumes as cryoDRGN writes them: their DC, which no image trains, included."""
        box, half = self.disc.box, self.disc.box // 2
        axis = torch.arange(-half, half, device=z.device)
        grid = torch.meshgrid(axis, axis, axis, indexing="ij")
        points = torch.stack(grid[::-1], dim=-1).flatten(0, 2)
        inside = self._drawn(points)
        volumes = []
        for latent in z:
            parts = points[inside].float().split(POINTS_AT_ONCE)
            values = torch.cat([self._hartley(part[None], latent[None])[0] for part in parts])
            cube = values.new_zeros(len(points))
            cube[inside] = values
            cube = torch.fft.ifftshift(cube.unflatten(0, (box, box, box)))
            transform = torch.fft.fftn(cube, norm="forward")
            volumes.append(torch.fft.fftshift(transform.real - transform.imag))
        return torch.stack(volumes)

    def _drawn(self, points: Int[Tensor, "v 3"]) -> Tensor:
        """Which points of the lattice a volume is made of."""
        squares, half = points.square(), self.disc.box // 2
        if self.region == "cube":
            return torch.ones_like(points[:, 0], dtype=torch.bool)
        if self.region == "ball":
            return squares.sum(-1) <= half**2
        # as found: z is stretched to the lattice's side, and no plane reaches the edge
        height = squares[:, 2] * ((self.disc.box + 1) / self.disc.box) ** 2
        reach = (half**2 - height - EDGE).clamp(min=0).sqrt().floor()
        return (squares[:, :2].sum(-1) <= reach.square()) & (reach > 0)

    def _transform(
        self, points: Float[Tensor, "obs p 3"], z: Float[Tensor, "obs zdim"]
    ) -> Complex[Tensor, "obs p"]:
        if self.outputs == 1:
            here, there = (self._hartley(sign * points, z) for sign in (1, -1))
            return torch.complex(0.5 * (here + there), 0.5 * (there - here))
        sign = _side(points)
        real, imaginary = self._values(sign[..., None] * points, z).unbind(-1)
        return self.scale * torch.complex(real, sign * imaginary)

    def _hartley(
        self, points: Float[Tensor, "obs p 3"], z: Float[Tensor, "obs zdim"]
    ) -> Float[Tensor, "obs p"]:
        if self.outputs == 1:
            return self.scale * self._values(points, z)[..., 0]
        transform = self._transform(points, z)
        return transform.real - transform.imag

    def _values(
        self, points: Float[Tensor, "obs p 3"], z: Float[Tensor, "obs zdim"]
    ) -> Float[Tensor, "obs p outputs"]:
        phases = linear(points / self.disc.box, self.matrix).unflatten(-1, (-1, self.group))
        features = torch.stack([phases.sin(), phases.cos()], dim=-2).flatten(-3)
        return self.network(features, z[:, None])


def _side(points: Float[Tensor, "*n 3"]) -> Float[Tensor, " *n"]:
    """-1 where the opposite point is evaluated, else 1."""
    opposite = in_canonical_half(points) & (points != 0).any(dim=-1)
    return torch.where(opposite, -1.0, 1.0)


class CryodrgnEncoder(Posterior):
    """A network over the Hartley transform of the windowed, centred and phase-flipped image.

    It reads the whole image where the evidence holds it (`Evidence.beyond`), and else what the
    disc holds, which changes its latents a little.

    Args:
        box: Side of the images.
        z_dim: Number of latent dimensions.
        disc: Where the evidence's coefficients belong.
        width: Units per layer.
        layers: Hidden layers after the first.
        window: Share of half the box within which images stay whole; None for no window.
        mask: Largest frequency that is read, in cycles per box.
    """

    reads_images = True
    is_amortised = True

    def __init__(
        self,
        disc: FourierDisc,
        z_dim: int,
        *,
        width: int = 256,
        layers: int = 3,
        window: float | None = 0.85,
        mask: int | None = None,
    ) -> None:
        super().__init__()
        self.disc, self.z_dim, self.window = disc, z_dim, window
        half = disc.box // 2
        axis = torch.arange(-half, half + 1)
        grid = torch.meshgrid(axis, axis, indexing="ij")
        points = torch.stack(grid[::-1], dim=-1).flatten(0, 1).float()
        radius = torch.linalg.vector_norm(points.double(), dim=-1)
        inside = (radius > 0) & (radius <= (mask or half))
        self.register_buffer("index", torch.nonzero(inside)[:, 0], persistent=False)
        self.register_buffer("points", points[inside], persistent=False)
        self.register_buffer("scale", torch.ones(()))
        self.index: Tensor
        self.points: Tensor
        self.scale: Tensor
        self.network = Network([len(self.points), *[width] * (layers + 1), 2 * z_dim])

    @classmethod
    def build(cls, options: CryodrgnOptions, setting: Setting) -> "CryodrgnEncoder":
        """A network at a random start, which a checkpoint replaces."""
        return cls(
            setting.disc,
            setting.z_dim,
            width=options.encoder_width,
            layers=options.encoder_layers,
            window=options.window_radius,
            mask=options.encoder_mask,
        )

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor], scale: float) -> None:
        """Take cryoDRGN's weights.

        Args:
            state: ``model_state_dict``.
            scale: The divisor of the images' transforms (``norm``).

        Raises:
            ValueError: If they are those of another network.
        """
        self.network.load_state_dict(network_tensors(state, "encoder.main."))
        self.scale.fill_(scale)

    def forward(self, batch: Batch, model: GenerativeModel) -> DiagonalNormal:
        """The distribution of each particle's latent, from its evidence alone."""
        evidence = batch.evidence
        if evidence.poses is None or evidence.ctf is None:
            raise ValueError("cryoDRGN's encoder needs poses and transfer functions")
        pixels = disc_to_images(evidence.images, self.disc)
        if evidence.beyond is not None:
            pixels = pixels + evidence.beyond
        encoded = self.network(self.features(pixels, evidence.poses, evidence.ctf))
        shown = batch.of_evidence()
        count = shown.sum_by_particle(torch.ones_like(encoded[:, :1]))
        loc, log_var = (shown.sum_by_particle(encoded) / count).chunk(2, dim=-1)
        return DiagonalNormal(loc, log_var)

    def features(
        self, pixels: Float[Tensor, "obs y x"], poses: Poses, ctf: CTF
    ) -> Float[Tensor, "obs features"]:
        """What the network is fed.

        Its images show dark particles and its transfer functions have the other sign, so both
        signs cancel. It divides displacements by the box and moves by as many (N + 1)ths.

        Args:
            pixels: Images in which particles are bright.
            poses: Their poses.
            ctf: Their transfer functions.

        Returns:
            Coefficients in the order of rows, then columns.
        """
        box = self.disc.box
        centred = torch.fft.ifftshift(pixels * self._window(), dim=(-2, -1))
        transform = torch.fft.fftshift(torch.fft.fft2(centred), dim=(-2, -1))
        hartley = pad(transform.real - transform.imag, (0, 1, 0, 1))
        hartley[..., -1], hartley[..., -1, :] = hartley[..., 0], hartley[..., 0, :]
        hartley[..., -1, -1] = hartley[..., 0, 0]
        flat = hartley.flatten(1) / self.scale
        here, opposite = flat[:, self.index], flat.flip(1)[:, self.index]
        pixels_off = poses.shifts_angstrom / ctf.pixel_size_angstrom[:, None]
        phase = -2 * torch.pi * (box + 1) / box**2 * pixels_off @ self.points.T
        moved = here * phase.cos() + opposite * phase.sin()
        return moved * ctf.evaluate(self.points / box).sign()

    def _window(self) -> Float[Tensor, "y x"]:
        box = self.disc.box
        if self.window is None:
            return self.scale.new_ones(box, box)
        axis = torch.arange(-(box // 2), box // 2, device=self.scale.device) / (box // 2)
        radius = torch.hypot(axis[:, None], axis[None])
        return ((WINDOW_END - radius) / (WINDOW_END - self.window)).clamp(0, 1)

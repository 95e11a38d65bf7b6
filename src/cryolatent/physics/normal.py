"""Normal equations of slices: inner products per observation, and sums per voxel.

A model with components U_c explains a filtered image by ``Σ_c ζ_c g_c``, g_c the nearest-neighbour
slice of U_c. Symmetric matrices over the components are packed: their lower triangle row by row,
or their diagonal alone where components never mix (`independent`). As with slices, compiled loops
serve processors and plain PyTorch, ``reference_*``, every other device.
"""

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from cryolatent.physics.lattice import FourierLattice
from cryolatent.physics.slicing import Interpolation, geometry, in_threads, taps


def pairs(components: int, *, independent: bool = False) -> int:
    """The length of a packed symmetric matrix.

    Args:
        components: Rows of the matrix.
        independent: Whether only the diagonal is kept.

    Returns:
        Number of entries.
    """
    return components if independent else components * (components + 1) // 2


def pack(matrices: Float[Tensor, "*n c c"]) -> Float[Tensor, "*n p"]:
    """Keep the lower triangle of symmetric matrices.

    Args:
        matrices: Symmetric matrices.

    Returns:
        Rows of the lower triangle, one after the other.
    """
    row, column = torch.tril_indices(*matrices.shape[-2:])
    return matrices[..., row, column]


def unpack(packed: Float[Tensor, "*n p"]) -> Float[Tensor, "*n c c"]:
    """Restore symmetric matrices from their lower triangles; the inverse of `pack`.

    Args:
        packed: Rows of the lower triangle.

    Returns:
        Symmetric matrices.
    """
    size = round(((8 * packed.shape[-1] + 1) ** 0.5 - 1) / 2)
    row, column = torch.tril_indices(size, size)
    matrices = packed.new_zeros(*packed.shape[:-1], size, size)
    matrices[..., row, column] = packed
    matrices[..., column, row] = packed
    return matrices


def slice_products(
    values: Complex[Tensor, "v c"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    gains: Float[Tensor, " k"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    *,
    independent: bool = False,
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]]:
    """Inner products of each observation's slices with each other and with its image.

    Args:
        values: Components at the lattice's voxels.
        images: Filtered images x.
        weights: Squared transfer functions w.
        gains: Weight of each coefficient, such as one over the noise variance.
        rotations: Rotation of each observation.
        lattice: Where the values belong.
        independent: Whether only products of a component with itself are wanted.

    Returns:
        ``Σ_k gain w Re(g_c* g_d)``, packed, and ``Σ_k gain Re(g_c* x)``.
    """
    if values.device.type != "cpu":
        return reference_slice_products(
            values, images, weights, gains, rotations, lattice, independent=independent
        )
    from cryolatent.physics import kernels

    n, components = len(images), values.shape[1]
    gram = np.empty((n, pairs(components, independent=independent)), np.float32)
    inner = np.empty((n, components), np.float32)
    flat, x, w, gain = (t.contiguous().numpy() for t in (values, images, weights, gains))

    def work(_: int, rows: slice) -> None:
        where = geometry(rotations[rows], lattice, Interpolation.NEAREST)
        kernels.slice_products(flat, x[rows], w[rows], gain, where, gram[rows], inner[rows])

    in_threads(work, n)
    return torch.from_numpy(gram), torch.from_numpy(inner)


def reference_slice_products(
    values: Complex[Tensor, "v c"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    gains: Float[Tensor, " k"],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
    *,
    independent: bool = False,
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]]:
    """`slice_products` in plain PyTorch, on any device."""
    parts = []
    for rows in row_chunks(len(images), lattice.disc.size * values.shape[1]):
        g = torch.view_as_real(nearest(values, rotations[rows], lattice)).transpose(2, 3)
        x = torch.view_as_real(images[rows] * gains)
        inner = torch.einsum("nkpc,nkp->nc", g, x)
        w = weights[rows] * gains
        if independent:
            gram = torch.einsum("nkpc,nkpc,nk->nc", g, g, w)
        else:
            flat = (g * w.sqrt()[:, :, None, None]).flatten(1, 2)
            gram = pack(flat.mT @ flat)
        parts.append((gram, inner))
    grams, inners = zip(*parts, strict=True)
    return torch.cat(grams), torch.cat(inners)


class NormalEquations:
    """Sums over observations of each voxel's normal equations, one copy per thread.

    Args:
        lattice: Where the components live.
        components: Their number.
        independent: Whether components never mix, so that matrices are diagonal.
    """

    def __init__(
        self, lattice: FourierLattice, components: int, *, independent: bool = False
    ) -> None:
        self.lattice = lattice
        self._width = pairs(components, independent=independent), components
        self._sums: list[tuple[np.ndarray, np.ndarray]] = []
        self._tensors: tuple[Tensor, Tensor] | None = None

    def insert(
        self,
        images: Complex[Tensor, "n k"],
        weights: Float[Tensor, "n k"],
        gains: Float[Tensor, " k"],
        moments: tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]],
        rotations: Float[Tensor, "n 3 3"],
    ) -> None:
        """Add observations: ``w E[ζ ζᵀ]`` to the matrices and ``x E[ζ]`` to the right-hand sides.

        Args:
            images: Filtered images x.
            weights: Squared transfer functions w.
            gains: Weight of each coefficient.
            moments: Second moments of ζ, packed, and first moments.
            rotations: Rotation of each observation.
        """
        if images.device.type != "cpu":
            self._insert_tensors(images, weights, gains, moments, rotations)
            return
        from cryolatent.physics import kernels

        x, w, gain, second, first = (
            t.contiguous().numpy() for t in (images, weights, gains, *moments)
        )
        size = self.lattice.size
        for _ in range(torch.get_num_threads() - len(self._sums)):
            matrix = np.zeros((size, self._width[0]), np.float32)
            self._sums.append((matrix, np.zeros((size, 2 * self._width[1]), np.float32)))

        def work(thread: int, rows: slice) -> None:
            where = geometry(rotations[rows], self.lattice, Interpolation.NEAREST)
            kernels.insert_normal(
                x[rows], w[rows], gain, second[rows], first[rows], where, *self._sums[thread]
            )

        in_threads(work, len(images))

    def _insert_tensors(
        self,
        images: Complex[Tensor, "n k"],
        weights: Float[Tensor, "n k"],
        gains: Float[Tensor, " k"],
        moments: tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]],
        rotations: Float[Tensor, "n 3 3"],
    ) -> None:
        """`insert` in plain PyTorch, on any device."""
        pairs_, components = self._width
        if self._tensors is None:
            size = self.lattice.size
            self._tensors = (
                weights.new_zeros(size, pairs_),
                images.new_zeros(size, components),
            )
        matrix, vector = self._tensors
        second, first = moments
        for rows in row_chunks(len(images), images.shape[1] * pairs_):
            voxels, flipped = _touched(rotations[rows], self.lattice)
            w = (weights[rows] * gains)[..., None] * second[rows, None]
            x = images[rows] * gains
            x = torch.where(flipped, x.conj(), x)[..., None] * first[rows, None]
            matrix.index_add_(0, voxels.flatten(), w.flatten(0, 1))
            vector.index_add_(0, voxels.flatten(), x.flatten(0, 1))

    def total(self) -> tuple[Float[Tensor, "v p"], Complex[Tensor, "v c"]]:
        """The sums over all threads, both members of each conjugate pair folded together.

        Returns:
            Packed matrices and right-hand sides; the sums are used up.
        """
        if self._tensors is not None:
            folded = self.lattice.fold(self._tensors[0]), self.lattice.fold(self._tensors[1])
            self._tensors = None
            return folded
        (matrix, vector), *rest = self._sums
        for other_matrix, other_vector in rest:
            matrix += other_matrix
            vector += other_vector
        self._sums = []
        right = torch.view_as_complex(torch.from_numpy(vector).view(len(vector), -1, 2))
        return self.lattice.fold(torch.from_numpy(matrix)), self.lattice.fold(right)


def apply_normal(
    matrix: Float[Tensor, "v p"], values: Complex[Tensor, "v c"]
) -> Complex[Tensor, "v c"]:
    """Multiply each voxel's components by its packed matrix.

    Args:
        matrix: Packed symmetric matrices.
        values: Components at the voxels.

    Returns:
        Products.
    """
    if values.device.type != "cpu":
        return reference_apply_normal(matrix, values)
    from cryolatent.physics import kernels

    out = np.empty(tuple(values.shape), np.complex64)
    kernels.apply_normal(matrix.numpy(), values.contiguous().numpy(), out)
    return torch.from_numpy(out)


def reference_apply_normal(
    matrix: Float[Tensor, "v p"], values: Complex[Tensor, "v c"]
) -> Complex[Tensor, "v c"]:
    """`apply_normal` in plain PyTorch, on any device."""
    components = values.shape[1]
    if matrix.shape[1] == components:
        return matrix * values
    row, column = (index.to(values.device) for index in torch.tril_indices(components, components))
    out = torch.zeros_like(values).index_add(1, row, matrix * values[:, column])
    off = (row != column).to(matrix.dtype)
    return out.index_add(1, column, matrix * off * values[:, row])


def residual_power(
    values: Complex[Tensor, "v c"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    moments: tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
) -> Float[Tensor, " shells"]:
    """Expected squared residuals per shell, but for the observed images' own power.

    Args:
        values: Components at the lattice's voxels.
        images: Filtered images x.
        weights: Squared transfer functions w.
        moments: Second moments of ζ, packed, and first moments.
        rotations: Rotation of each observation.
        lattice: Where the values belong.

    Returns:
        ``Σ w E|g ζ|² - 2 Re(x* g E[ζ])`` over observations and coefficients of shells
        0 to ``disc.radius``.
    """
    if values.device.type != "cpu":
        return reference_residual_power(values, images, weights, moments, rotations, lattice)
    from cryolatent.physics import kernels

    flat, x, w, second, first = (
        t.contiguous().numpy() for t in (values, images, weights, *moments)
    )
    shells = lattice.disc.shells.numpy()

    def work(_: int, rows: slice) -> np.ndarray:
        power = np.zeros(lattice.disc.radius + 1)
        where = geometry(rotations[rows], lattice, Interpolation.NEAREST)
        kernels.residual_power(
            flat, x[rows], w[rows], second[rows], first[rows], where, shells, power
        )
        return power

    return torch.from_numpy(np.sum(in_threads(work, len(images)), axis=0))


def reference_residual_power(
    values: Complex[Tensor, "v c"],
    images: Complex[Tensor, "n k"],
    weights: Float[Tensor, "n k"],
    moments: tuple[Float[Tensor, "n p"], Float[Tensor, "n c"]],
    rotations: Float[Tensor, "n 3 3"],
    lattice: FourierLattice,
) -> Float[Tensor, " shells"]:
    """`residual_power` in plain PyTorch, on any device."""
    second, first = moments
    power = values.real.new_zeros(lattice.disc.radius + 1, dtype=torch.double)
    for rows in row_chunks(len(images), lattice.disc.size * values.shape[1]):
        g = nearest(values, rotations[rows], lattice)
        expected = (g * first[rows, None]).sum(-1)
        cross = (images[rows].conj() * expected).real
        if second.shape[1] == values.shape[1]:
            square = (torch.view_as_real(g).square().sum(-1) * second[rows, None]).sum(-1)
        else:
            bent = g @ unpack(second[rows]).to(g.dtype)
            square = (bent * g.conj()).real.sum(-1)
        residual = (weights[rows] * square - 2 * cross).double().sum(0)
        power = power + lattice.disc.shell_sum(residual)
    return power


AT_ONCE = 2**25
"""Numbers in the largest temporary tensor of the versions in plain PyTorch."""


def row_chunks(rows: int, numbers: int) -> list[slice]:
    """Divide rows among slices that are few enough for memory.

    Args:
        rows: Their number.
        numbers: How many numbers a row takes.

    Returns:
        Slices, in order.
    """
    step = max(1, AT_ONCE // max(1, numbers))
    return [slice(first, min(first + step, rows)) for first in range(0, max(1, rows), step)]


def nearest(
    values: Complex[Tensor, "v c"], rotations: Float[Tensor, "n 3 3"], lattice: FourierLattice
) -> Complex[Tensor, "n k c"]:
    """Slices from the nearest voxels, in plain PyTorch.

    Args:
        values: Components at the lattice's voxels.
        rotations: Rotation of each slice.
        lattice: Where the values belong.

    Returns:
        Coefficients of the lattice's disc.
    """
    voxels, flipped = _touched(rotations, lattice)
    read = values[voxels]
    return torch.where(flipped[..., None], read.conj(), read)


def _touched(
    rotations: Float[Tensor, "n 3 3"], lattice: FourierLattice
) -> tuple[Int[Tensor, "n k"], Bool[Tensor, "n k"]]:
    """The voxel nearest to each coefficient, and whether its point is on the other side."""
    ((voxels, _, flipped),) = taps(rotations, lattice, Interpolation.NEAREST)
    return voxels, flipped

"""Expectation maximisation: the contract's posteriors, and an objective that never falls."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from builders import small_stack, spectra, subspace_model
from cryolatent.data import FilteredImages, FilteredStack, ParticleStack
from cryolatent.models import Categorical, ExactGaussian, GenerativeModel
from cryolatent.models.contrast import ONE, Contrast
from cryolatent.models.decoders.coefficients import Linear, Shares
from cryolatent.models.hypothesis import Hypothesis
from cryolatent.models.nuisances import Nuisances
from cryolatent.models.posteriors.exact import ClosedForm
from cryolatent.physics import FourierDisc, FourierLattice, apply_normal, soft_sphere
from cryolatent.train.em.march import marching
from cryolatent.train.em.step import Pass, sweep
from cryolatent.train.em.volumes import MaskedVolumes

SPREADS = pytest.mark.parametrize("spread", [0.0, 0.2])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return small_stack(tmp_path_factory.mktemp("stack") / "data", particles=120)


def filtered(stack: ParticleStack, shells: int = 7) -> list[FilteredImages]:
    index = torch.arange(len(stack))
    disc = FourierDisc(stack.disc.box, shells, by_shell=True)
    return list(FilteredStack(stack, index).chunks(disc))


def compare(
    stack: ParticleStack, model: GenerativeModel, posterior: ClosedForm, spread: float
) -> None:
    """Both ways to the same posteriors: filtered images and compiled products, and batches."""
    contrast = model.likelihood.contrast = Contrast(spread)
    decoder, noise = model.decoder, model.likelihood.noise_spectrum
    index = torch.arange(len(stack))
    part = FilteredImages.read(stack, index, FourierDisc(stack.disc.box, 7))
    values = decoder.lattice.from_volumes(decoder.volumes.detach() * decoder.scale, -1)
    nuisances = Nuisances(contrast=contrast)
    found = Hypothesis(decoder.lattice, values, noise, posterior, nuisances).explain(part)
    q = found.moments
    # where the volumes learn, slices are sampled and not compiled
    expected = posterior(stack.batch(index), model)
    for name, column in expected.to_columns().items():
        torch.testing.assert_close(
            q.posterior.to_columns()[name], column, rtol=1e-3, atol=2e-4, msg=name
        )
    # the log density of empty images, and with it the evidence
    batch = stack.batch(index)
    empty = model.likelihood.negative_log(batch.images, 0 * batch.images)
    torch.testing.assert_close(found.compared.empty, -empty, rtol=1e-5, atol=1e-3)


@SPREADS
def test_expectation_of_normal_latents_is_the_exact_posterior(
    stack: ParticleStack, spread: float
) -> None:
    model = subspace_model(Linear(2), disc=stack.disc)
    compare(stack, model, ExactGaussian(2), spread)


@SPREADS
def test_expectation_of_classes_is_the_categorical_posterior(
    stack: ParticleStack, spread: float
) -> None:
    model = subspace_model(Shares(3), size=0.1, disc=stack.disc)
    compare(stack, model, Categorical(3, torch.tensor([0.5, 0.3, 0.2]).log()), spread)


def swept(
    parts: list[FilteredImages],
    values: Tensor,
    noise: Tensor,
    lattice: FourierLattice,
    posterior: ClosedForm,
    contrast: Contrast = ONE,
    **options: bool,
) -> Pass:
    """The pass that the sums make."""
    hypothesis = Hypothesis(lattice, values, noise, posterior, Nuisances(contrast=contrast))
    return sweep(parts, hypothesis, **options).finished(lattice)


def space_of(stack: ParticleStack, fields: int, mixing: Tensor, shells: int = 6) -> MaskedVolumes:
    box = stack.disc.box
    lattice = FourierLattice(FourierDisc(box, shells, by_shell=True))
    statistics_ = spectra(stack)
    signal = statistics_.signal_amplitude.square()[: shells + 1].clamp(min=0.1)
    ratios = torch.tensor([4.0] + [1.0] * (fields - 1))
    mask = lattice.field_of(soft_sphere(box, 1.0, 0.35 * box, 3.0))[None]
    return MaskedVolumes(lattice, mask, signal[:, None] * ratios, mixing)


def ascend(
    stack: ParticleStack, space: MaskedVolumes, posterior: ClosedForm, spread: float
) -> list[float]:
    """The penalised evidence at every pass."""
    contrast = Contrast(spread)
    noise = spectra(stack).background[: space.lattice.disc.radius + 1]
    parts = filtered(stack, space.lattice.disc.radius)
    fields = torch.randn(space.prior.shape[1], *(space.lattice.side,) * 3) * 0.02
    curve = []
    for _ in range(12):
        found = swept(parts, space.values(fields), noise, space.lattice, posterior, contrast)
        curve.append(found.evidence - space.penalty(fields))
        fields = space.improve(fields, found.matrix, found.vector, 3)
        if posterior.gives_states:
            posterior = Categorical(3, found.mean.log())
    return curve


def assert_never_falls(curve: list[float]) -> None:
    for before, after in pairwise(curve):
        assert after >= before - 1e-6 * abs(before), curve
    assert curve[-1] > curve[0] + 100


@SPREADS
def test_evidence_of_a_subspace_never_falls(stack: ParticleStack, spread: float) -> None:
    space = space_of(stack, 3, torch.eye(3))
    assert_never_falls(ascend(stack, space, ExactGaussian(2), spread))


@SPREADS
@pytest.mark.parametrize("mixed", [False, True])
def test_evidence_of_states_never_falls(stack: ParticleStack, spread: float, mixed: bool) -> None:
    mixing = torch.linalg.qr(torch.randn(3, 3)).Q if mixed else torch.eye(3)
    assert_never_falls(ascend(stack, space_of(stack, 3, mixing), Categorical(3), spread))


@pytest.mark.parametrize("normal", [False, True])
def test_normal_equations_have_the_slope_of_the_evidence(
    stack: ParticleStack, normal: bool
) -> None:
    """What maximisation lowers touches the evidence where it begins (Fisher's identity)."""
    space = space_of(stack, 3, torch.linalg.qr(torch.randn(3, 3)).Q)
    latents = ExactGaussian(2) if normal else Categorical(3)
    noise, lattice = spectra(stack).background[:7], space.lattice
    parts = filtered(stack, 6)
    start, way = 0.5 * lattice.side**1.5 * torch.randn(2, 3, *(lattice.side,) * 3)
    found = swept(parts, space.values(start), noise, lattice, latents)

    def evidence(fields: Tensor) -> float:
        return swept(parts, space.values(fields), noise, lattice, latents).evidence

    def misfit(fields: Tensor) -> float:
        values = space.values(fields)
        bent = apply_normal(found.matrix, values) - 2 * found.vector
        at_voxels = (values.conj() * bent).real.sum(-1)
        return 0.5 * float((lattice.multiplicity * at_voxels).double().sum())

    ends = start + 0.02 * way, start - 0.02 * way
    slope = evidence(ends[0]) - evidence(ends[1])
    assert abs(slope) > 0.3
    assert misfit(ends[1]) - misfit(ends[0]) == pytest.approx(slope, rel=0.02)


def test_noise_is_the_expected_residual(stack: ParticleStack) -> None:
    """Volumes of zero leave the images' own power."""
    space, latents = space_of(stack, 2, torch.eye(2)), ExactGaussian(1)
    parts, lattice = filtered(stack, 6), space.lattice
    noise = spectra(stack).background[:7]
    values = torch.zeros(lattice.size, 2, dtype=torch.complex64)
    found = swept(parts, values, noise, lattice, latents, refit_noise=True)
    power = spectra(stack).power
    torch.testing.assert_close(found.noise[1:], power[1:7], rtol=1e-4, atol=0)
    assert found.kl == pytest.approx(0, abs=1e-3)
    # a fixed point of the noise does not lower the evidence
    fields = torch.randn(2, *(lattice.side,) * 3) * 0.05
    before = swept(parts, space.values(fields), noise, lattice, latents, refit_noise=True)
    after = swept(parts, space.values(fields), before.noise, lattice, latents)
    assert after.evidence > before.evidence


TINY = FourierLattice(FourierDisc(8, 1), oversampling=1)


def tiny(mixing: Tensor) -> tuple[MaskedVolumes, Tensor, Tensor]:
    """A space of two fields, with normal matrices and right-hand sides."""
    side = TINY.side
    mask = torch.rand(2, side, side, side)
    prior = 0.5 + torch.rand(2, 2)
    root = torch.randn(TINY.size, 2, 2)
    full = root @ root.mT
    matrix = TINY.fold(torch.stack([full[:, 0, 0], full[:, 1, 0], full[:, 1, 1]], dim=-1))
    vector = TINY.fold(torch.randn(TINY.size, 2, dtype=torch.complex64))
    return MaskedVolumes(TINY, mask, prior, mixing), matrix, vector


def quadratic(space: MaskedVolumes, matrix: Tensor, vector: Tensor, fields: Tensor) -> Tensor:
    """Misfit and penalty, half the sums over the whole grid, written out once more."""
    lattice = space.lattice
    values = lattice.from_field(fields * space.mask) * lattice.inside[:, None]
    mixed = values @ space.mixing.T.to(values.dtype)
    rows = torch.stack([matrix[:, :2], matrix[:, 1:]], dim=1).to(mixed)
    bent = (rows @ mixed[..., None])[..., 0]
    misfit = (mixed.conj() * (bent - 2 * vector)).real.sum(-1)
    prior = lattice.per_shell(space.prior) * lattice.oversampling**3
    penalty = ((values.conj() * values).real / prior).sum(-1)
    return 0.5 * (lattice.multiplicity * (misfit + penalty)).double().sum()


@pytest.mark.parametrize("mixed", [False, True])
def test_every_iteration_lowers_the_quadratic(mixed: bool) -> None:
    mixing = torch.linalg.qr(torch.randn(2, 2)).Q if mixed else torch.eye(2)
    space, matrix, vector = tiny(mixing)
    start = torch.randn(2, *(TINY.side,) * 3)
    heights = [
        float(quadratic(space, matrix, vector, space.improve(start, matrix, vector, n)))
        for n in range(12)
    ]
    for before, after in pairwise(heights):
        assert after <= before + 1e-6 * abs(before), heights
    assert heights[1] < heights[0] - 1e-3


@pytest.mark.parametrize("mixed", [False, True])
def test_iterations_converge_to_the_dense_solution(mixed: bool) -> None:
    mixing = torch.linalg.qr(torch.randn(2, 2)).Q if mixed else torch.eye(2)
    space, matrix, vector = tiny(mixing)
    shape = (2, *(TINY.side,) * 3)

    def height(flat: Tensor) -> Tensor:
        return quadratic(space, matrix, vector, flat.view(shape))

    zero = torch.zeros(2 * TINY.side**3)
    hessian = torch.autograd.functional.hessian(height, zero)
    slope = torch.autograd.functional.jacobian(height, zero)
    # the fields have directions that no voxel sees
    dense = torch.linalg.pinv(hessian.double(), rtol=1e-4, hermitian=True) @ -slope.double()
    expected = space.transform(dense.float().view(shape))
    found = space.transform(space.improve(torch.zeros(shape), matrix, vector, 300))
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=5e-3)


@pytest.mark.parametrize("oversampling", [1, 2])
def test_adjoint_is_adjoint(oversampling: int) -> None:
    lattice = FourierLattice(FourierDisc(8, 2), oversampling)
    side = lattice.side
    space = MaskedVolumes(lattice, torch.rand(1, side, side, side), torch.ones(3, 2), torch.eye(2))
    fields = torch.randn(2, side, side, side)
    values = torch.randn(lattice.size, 2, dtype=torch.complex64)
    weight = lattice.multiplicity[:, None]
    at_voxels = (weight * (values.conj() * space.transform(fields)).real).double().sum()
    in_space = (fields * space._adjoint(values)).double().sum() / side**3
    torch.testing.assert_close(at_voxels, in_space, rtol=1e-4, atol=1e-4)


def test_prior_counts_every_unknown_once() -> None:
    """The penalty of a volume is half its power over the prior, on any grid."""
    disc = FourierDisc(16, 6)
    axis = (torch.arange(16) - 8.0) ** 2
    blob = torch.exp(-(axis[:, None, None] + axis[:, None] + axis) / (2 * 1.5**2))
    expected = 0.5 * float(blob.square().sum()) * 16 / 2.0
    for oversampling in (1, 2, 3):
        lattice = FourierLattice(disc, oversampling)
        field = lattice.to_field(lattice.from_volumes(blob[None], 0))
        side = (lattice.side,) * 3
        space = MaskedVolumes(lattice, torch.ones(1, *side), torch.full((7, 1), 2.0), torch.eye(1))
        assert space.penalty(field) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("last", "first", "halts"),
    [
        (12, 4, [4, 6, 8, 10, 12]),
        (7, 4, [4, 7]),
        (4, 4, [4]),
        (3, 4, [3]),
        (5, 4, [4, 5]),
        (31, 12, [12, 16, 21, 31]),
        (63, 12, [12, 16, 21, 28, 37, 49, 63]),
    ],
)
def test_marching_halts(last: int, first: int, halts: list[int]) -> None:
    assert marching(last, first) == halts


def test_sums_of_parts_add_up(stack: ParticleStack) -> None:
    space, posterior = space_of(stack, 3, torch.eye(3)), ExactGaussian(2)
    noise, lattice = spectra(stack).background[:7], space.lattice
    values = space.values(0.05 * torch.randn(3, *(lattice.side,) * 3))
    index = torch.arange(len(stack))
    whole, first, second = (
        sweep(
            FilteredStack(stack, rows).chunks(lattice.disc),
            Hypothesis(lattice, values, noise, posterior),
            refit_noise=True,
        )
        for rows in (index, index[:50], index[50:])
    )
    both = (first + second).finished(lattice)
    expected = whole.finished(lattice)
    assert both.evidence == pytest.approx(expected.evidence, rel=1e-9)
    assert both.kl == pytest.approx(expected.kl, rel=1e-6)
    for name in ("matrix", "vector", "mean", "noise"):
        found = getattr(both, name)
        torch.testing.assert_close(found, getattr(expected, name), rtol=1e-4, atol=1e-4)
    assert (first + second).particles == len(stack)

import numpy as np
import pytest
from scipy.spatial import procrustes as scipy_procrustes

from cryolatent.analysis import (
    adjusted_rand_index,
    knn_overlap,
    linear_cka,
    null_agreement,
    procrustes,
)
from cryolatent.analysis.agreement import range_of


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_overlap_is_one_for_a_turned_and_scaled_space(rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert knn_overlap(x, 2.5 * x @ turn + 1, 10) == pytest.approx(1)


def test_overlap_is_zero_on_average_for_permuted_rows(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 3))
    values = [knn_overlap(x, rng.permutation(x), 10).mean() for _ in range(20)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(20)


def test_overlap_by_brute_force(rng: np.random.Generator) -> None:
    x, y, k = rng.normal(size=(12, 2)), rng.normal(size=(12, 2)), 3
    expected = []
    for i in range(12):
        neighbours = []
        for space in (x, y):
            order = np.argsort(np.linalg.norm(space - space[i], axis=1))
            neighbours.append(set(order[order != i][:k]))
        share, chance = len(neighbours[0] & neighbours[1]) / k, k / 11
        expected.append((share - chance) / (1 - chance))
    assert knn_overlap(x, y, k) == pytest.approx(np.array(expected))


def test_alignment_is_that_of_the_gram_matrices(rng: np.random.Generator) -> None:
    """The kernel form, tr(KHLH) / sqrt(tr(KHKH) tr(LHLH)), worked with n x n matrices."""
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    y[:, 0] += x[:, 0]
    centre = np.eye(30) - 1 / 30
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(x, y) == pytest.approx(expected)


def test_alignment_ignores_rotation_scale_and_offset(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert linear_cka(x, 3 * x @ turn - 7) == pytest.approx(1)
    assert linear_cka(x, np.ones((50, 2))) == 0


@pytest.mark.parametrize("dimensions", [(3, 3), (3, 2), (1, 4)])
def test_procrustes_is_one_minus_scipys_disparity(
    rng: np.random.Generator, dimensions: tuple[int, int]
) -> None:
    p, q = dimensions
    x, y = rng.normal(size=(40, p)), rng.normal(size=(40, q))
    y[:, 0] += 2 * x[:, 0]
    widest = max(p, q)
    padded = [np.pad(space, ((0, 0), (0, widest - space.shape[1]))) for space in (x, y)]
    _, _, disparity = scipy_procrustes(*padded)
    assert procrustes(x, y) == pytest.approx(1 - disparity)
    assert procrustes(y, x) == pytest.approx(procrustes(x, y))


def test_procrustes_is_the_share_of_variance_explained(rng: np.random.Generator) -> None:
    """By a search over angles and mirrors of the plane, with the scale of least squares."""
    x, y = rng.normal(size=(2, 25, 2))
    y += x @ np.array([[0.0, 2.0], [1.0, 0.0]])
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    best = 0.0
    for angle in np.linspace(0, 2 * np.pi, 3601):
        c, s = np.cos(angle), np.sin(angle)
        for turn in (np.array([[c, -s], [s, c]]), np.array([[c, s], [s, -c]])):
            turned = x @ turn
            residual = y - turned * (turned * y).sum() / (turned**2).sum()
            best = max(best, 1 - (residual**2).sum() / (y**2).sum())
    assert procrustes(x, y) == pytest.approx(best, abs=1e-5)


def test_procrustes_ignores_rotation_mirror_scale_and_offset(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert procrustes(x, -3 * x @ turn + 7) == pytest.approx(1)
    assert procrustes(x, np.ones((50, 2))) == 0
    assert procrustes(x, x * [1.0, 1.0, 10.0]) < 0.9


def test_rand_index_by_counting_pairs() -> None:
    """Of 15 pairs 4 are together in the one, 3 in the other, 2 in both; expected 4 * 3 / 15."""
    first, second = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 2, 1])
    together = 4 * 3 / 15
    assert adjusted_rand_index(first, second) == pytest.approx((2 - together) / (3.5 - together))
    assert adjusted_rand_index(first, 5 - first) == 1


MEASURES = {
    "neighbours": lambda x, y: float(knn_overlap(x, y, 5).mean()),
    "alignment": linear_cka,
    "procrustes": procrustes,
}


@pytest.mark.parametrize("name", MEASURES)
def test_null_is_what_unrelated_latents_reach(name: str, rng: np.random.Generator) -> None:
    """Permuting one of two equal spaces, or drawing another, gives the same distribution."""
    measure, x = MEASURES[name], rng.normal(size=(60, 3))
    null = null_agreement(x, x, measure, draws=100)
    unrelated = np.array([measure(x, rng.normal(size=(60, 3))) for _ in range(100)])
    error = np.hypot(null.std(), unrelated.std()) / 10
    assert abs(null.mean() - unrelated.mean()) < 4 * error
    assert measure(x, x) > null.max() + 0.3


def test_null_of_clusters_is_zero_on_average(rng: np.random.Generator) -> None:
    labels = rng.integers(4, size=100)
    null = null_agreement(labels, labels, adjusted_rand_index)
    assert abs(null.mean()) < 4 * null.std() / np.sqrt(len(null))


def test_null_repeats_with_its_seed(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 30, 2))
    first, again, other = (null_agreement(x, y, procrustes, seed=s, draws=5) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert len(first) == 5


def test_range_of_draws_by_hand() -> None:
    found = range_of(np.arange(41.0))
    assert (found.value, found.low, found.high) == (20, 1, 39)


def test_procrustes_of_few_particles_is_far_from_zero_by_chance(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 10, 8))
    assert null_agreement(x, y, procrustes).mean() > 0.4

import numpy as np
import pytest

from cryolatent.analysis import knn_overlap, linear_cka


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

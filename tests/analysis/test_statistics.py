import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from cryolatent.analysis import fsc_area, rand_index
from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.analysis.embedding import cluster_latents, principal_components, umap_coordinates


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_interval_of_a_mean_is_two_standard_errors_wide(rng: np.random.Generator) -> None:
    values = rng.normal(size=2000)
    estimate = mean_estimate(values)
    assert estimate.value == pytest.approx(values.mean())
    half_width = 1.96 * values.std() / np.sqrt(2000)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half_width, rel=0.2)


def test_interval_covers_the_truth_as_often_as_it_says(rng: np.random.Generator) -> None:
    estimates = [mean_estimate(rng.normal(size=400), seed=s) for s in range(200)]
    covered = sum(e.low <= 0 <= e.high for e in estimates)
    # 95 % of 200 is 190, three binomial standard deviations are 9
    assert 181 <= covered <= 199


def test_rand_index_leaves_junk_out() -> None:
    state = np.array([0, 0, 1, 1, 2, 2, -1, -1])
    assert rand_index(np.array([5, 5, 7, 7, 1, 1, 5, 7]), state).value == 1
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    expected = adjusted_rand_score(state[:6], labels[:6])
    assert rand_index(labels, state).value == pytest.approx(expected)


def test_area_of_a_curve_by_hand() -> None:
    """Shells 0 to 3 of a box of 8: 1, 1/2, 0, -1/2 with trapezoids 3/4 + 1/4 + 1/4 over 8."""
    curve = torch.tensor([0.2, 0.5, 0.0, -0.5])
    assert float(fsc_area(curve)) == pytest.approx(1.25 / 8)
    assert curve[0] == pytest.approx(0.2)


def test_clusters_are_numbered_by_size_and_named_by_their_medoid(rng: np.random.Generator) -> None:
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    sizes = [10, 40, 25]
    z = np.concatenate([c + rng.normal(size=(n, 2)) for c, n in zip(centres, sizes, strict=True)])
    truth = np.repeat([2, 0, 1], sizes)
    labels, medoids = cluster_latents(z, 3, seed=0)
    assert labels.tolist() == truth.tolist()
    for number, medoid in enumerate(medoids):
        members = np.flatnonzero(truth == number)
        distance = np.linalg.norm(z[members] - z[members].mean(axis=0), axis=1)
        assert medoid == members[distance.argmin()]


def test_clusters_are_no_more_than_distinct_latents() -> None:
    labels, medoids = cluster_latents(np.zeros((5, 2)), 4, seed=0)
    assert labels.tolist() == [0] * 5
    assert len(medoids) == 1


def test_principal_components_keep_distances_and_order(rng: np.random.Generator) -> None:
    z = rng.normal(size=(100, 3)) * [3, 1, 0.1]
    coordinates, explained = principal_components(z)
    assert np.linalg.norm(coordinates[0] - coordinates[1]) == pytest.approx(
        np.linalg.norm(z[0] - z[1])
    )
    assert (np.diff(explained) < 0).all()
    assert explained.sum() == pytest.approx(1)


def test_umap_keeps_clusters_apart_and_repeats(rng: np.random.Generator) -> None:
    z = np.concatenate([rng.normal(size=(30, 3)), 20 + rng.normal(size=(30, 3))])
    first, again = umap_coordinates(z, 1), umap_coordinates(z, 1)
    assert np.array_equal(first, again)
    centres = first[:30].mean(axis=0), first[30:].mean(axis=0)
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * first[:30].std()

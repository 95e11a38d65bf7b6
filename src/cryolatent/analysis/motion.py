"""How much latents say about the true coordinate of a continuous motion."""

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from cryolatent.analysis.bootstrap import bootstrap
from cryolatent.analysis.summary import Estimate

NEIGHBOURS = 20
FOLDS = 5
FEWEST = 2 * FOLDS


def predicted_coordinate(
    latents: Float[np.ndarray, "n zdim"], coordinate: Float[np.ndarray, " n"], seed: int = 0
) -> Float[np.ndarray, " n"]:
    """Predict each particle's coordinate from those of its neighbours in latent space.

    The mean over the nearest 20 particles (a tenth of all if there are fewer than 200) of the
    other four fifths, so that no particle has a part in its own prediction.

    Args:
        latents: Posterior means of at least ten particles.
        coordinate: The true coordinate.
        seed: Fixes the division into fifths.

    Returns:
        Predictions.
    """
    neighbours = KNeighborsRegressor(min(NEIGHBOURS, len(latents) // 10))
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    return np.asarray(cross_val_predict(neighbours, latents, coordinate, cv=folds))


def explained_variance(
    coordinate: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]
) -> Estimate:
    """Share of a coordinate's variance that predictions explain.

    ``R² = 1 - Σ(c - p)² / Σ(c - c̄)²`` with c the coordinate and p the prediction.

    Args:
        coordinate: The truth.
        predicted: Predictions.

    Returns:
        1 for perfect predictions, at most about 0 for predictions that know nothing, with its
        interval.
    """

    def statistic(rows: np.ndarray) -> float:
        truth, guess = coordinate[rows], predicted[rows]
        spread = np.square(truth - truth.mean()).sum()
        return float(1 - np.square(truth - guess).sum() / spread) if spread > 0 else 0.0

    return bootstrap(statistic, len(coordinate))


def rank_correlation(
    coordinate: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]
) -> Estimate:
    """Absolute rank correlation of predictions with the truth.

    Args:
        coordinate: The truth.
        predicted: Predictions.

    Returns:
        1 for the same or the reverse order, close to 0 for unrelated ones, 0 for predictions that
        are all equal; with its interval.

    Source:
        Spearman 1904, doi:10.2307/1412159.
    """

    def statistic(rows: np.ndarray) -> float:
        ranks = [rankdata(values[rows]) for values in (coordinate, predicted)]
        a, b = (rank - rank.mean() for rank in ranks)
        norm = np.sqrt((a @ a) * (b @ b))
        return abs(float(a @ b / norm)) if norm > 0 else 0.0

    return bootstrap(statistic, len(coordinate))

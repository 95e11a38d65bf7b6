"""Maps of the latent space, and clusters in it."""

import warnings

import numpy as np
from jaxtyping import Float, Int

from cryolatent.models.latents import Latents


def latent_points(latents: Latents) -> Float[np.ndarray, "n axes"]:
    """Posterior means as points, of latents of no dimensions all of them one.

    Args:
        latents: Those of a run.

    Returns:
        At least one column.
    """
    z = latents.distribution.mean.numpy().astype(float)
    return z if z.shape[1] else np.zeros((len(z), 1))


def principal_components(
    latents: Float[np.ndarray, "n zdim"],
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, " c"]]:
    """Project latents on their principal components.

    Args:
        latents: Posterior means.

    Returns:
        Coordinates in descending order of variance, and each component's share of it.
    """
    from sklearn.decomposition import PCA

    # equal latents have no variance to share: zero over zero
    with np.errstate(invalid="ignore"):
        pca = PCA().fit(latents)
    return pca.transform(latents), np.nan_to_num(pca.explained_variance_ratio_)


def umap_coordinates(latents: Float[np.ndarray, "n zdim"], seed: int) -> Float[np.ndarray, "n 2"]:
    """Embed latents in the plane by UMAP, with the library's default parameters.

    Args:
        latents: Posterior means.
        seed: Fixes the result.

    Returns:
        Coordinates.

    Source:
        McInnes et al. 2018, arXiv:1802.03426.
    """
    neighbours = min(15, len(latents) - 1)
    with warnings.catch_warnings():
        # umap warns when it is imported without TensorFlow, and about its own defaults
        warnings.simplefilter("ignore")
        import umap

        # the spectral start needs more particles than components to solve for
        start = "spectral" if len(latents) > 16 else "random"
        reducer = umap.UMAP(n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(latents), dtype=np.float64)


def cluster_latents(
    latents: Float[np.ndarray, "n zdim"], clusters: int, seed: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " c"]]:
    """Cluster latents by k-means.

    Args:
        latents: Posterior means.
        clusters: Number of clusters, at most the number of distinct latents.
        seed: Fixes the result.

    Returns:
        Each particle's cluster, numbered by falling size, and each cluster's medoid: the particle
        nearest to its centre.
    """
    from sklearn.cluster import KMeans

    distinct = len(np.unique(latents, axis=0))
    means = KMeans(min(clusters, distinct), n_init=10, random_state=seed)  # pyright: ignore
    labels = means.fit_predict(latents)
    by_size = np.argsort(-np.bincount(labels), kind="stable")
    distance = np.linalg.norm(latents[:, None] - means.cluster_centers_[by_size], axis=-1)
    return np.argsort(by_size)[labels], distance.argmin(axis=0)

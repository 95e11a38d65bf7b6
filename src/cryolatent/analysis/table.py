"""What a run believes of its particles and what their file says of them, as tables."""

import pandas as pd

from cryolatent.analysis.selection import cluster_labels, quantities
from cryolatent.io import read_star
from cryolatent.runs.run import Run


def believed(run: Run) -> pd.DataFrame:
    """What is believed of each particle.

    Args:
        run: A finished run.

    Returns:
        One row per particle, indexed by its name: means of the latents, or shares and ``state``;
        ``certainty`` and ``reliability`` from 0 to 1; ``elbo``, ``log_joint`` and ``evidence``
        where there are; ``cluster`` if the run is analysed.
    """
    latents = run.latents()
    columns = quantities(run, latents)
    certainty = latents.distribution.certainty
    if certainty is not None:
        columns["certainty"] = certainty.numpy()
    labels = cluster_labels(run, latents)
    if labels is not None:
        columns["cluster"] = labels
    return pd.DataFrame(columns, index=pd.Index(latents.ids, name="id"))


def recorded(run: Run) -> pd.DataFrame | None:
    """What the run's STAR file says of each particle.

    Args:
        run: A finished run.

    Returns:
        The file's columns, of the first of several images, one row per particle as in `believed`;
        None if the run was not given a STAR file, or it is not there.
    """
    if run.input.suffix != ".star" or not run.input.is_file():
        return None
    ids = run.latents().ids
    stack = run.open_stack().select_ids(ids)
    rows = stack.source_rows[stack.offsets[:-1].numpy()]
    star = read_star(run.input).particles.iloc[rows]
    return star.set_index(pd.Index(ids, name="id"))

"""Particles of a run chosen by cluster, by name, or by what is believed of them."""

import operator
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from cryolatent.data import original_names
from cryolatent.errors import InputError
from cryolatent.models.latents import Latents
from cryolatent.runs.run import Run

COMPARISON = re.compile(r"(\w+?)\s*(<=|>=|<|>|=)\s*(.+)")
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
FORMS = "cluster=0,2, ids=FILE, or a comparison such as z0>0.5, share3>=0.8, elbo<-2000"


def quantities(latents: Latents) -> dict[str, np.ndarray]:
    """What is believed of each particle, by the names that selections use.

    Args:
        latents: Those of a run.

    Returns:
        ``share0 ...`` of a categorical posterior, else the means ``z0 ...``; and ``elbo``, or
        ``log_joint`` of points; ``evidence`` where it is known; ``is_particle`` and ``contrast``
        where they were doubted.
    """
    letter = latents.distribution.letter
    means = latents.distribution.mean.numpy()
    columns = {f"{letter}{axis}": means[:, axis] for axis in range(means.shape[1])}
    scores = {name: getattr(latents, name) for name in ("elbo", "log_joint", "evidence")}
    if latents.beliefs is not None:
        columns["is_particle"] = latents.beliefs.probability.numpy()
        columns["contrast"] = latents.beliefs.contrast.numpy()
    return columns | {name: value.numpy() for name, value in scores.items() if value is not None}


def cluster_labels(run: Run, latents: Latents) -> Int[np.ndarray, " n"] | None:
    """The clusters that the run's analysis found.

    Args:
        run: A finished run.
        latents: Its latents.

    Returns:
        One number per particle, in the order of the latents; None if it is not analysed.
    """
    path = run.analysis / "embedding.parquet"
    if not run.is_analysed or not path.exists():
        return None
    table = pq.read_table(path, columns=["id", "cluster"])
    if table["id"].to_pylist() != latents.ids.tolist():
        return None
    return table["cluster"].to_numpy()


def choose(run: Run, latents: Latents, conditions: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """Choose the particles that meet every condition.

    Args:
        run: A finished run.
        latents: Its latents.
        conditions: ``cluster=0,2``, ``ids=FILE`` (one name a line), or a comparison of a quantity
            with a number.

    Returns:
        For each particle whether it is chosen.

    Raises:
        InputError: If a condition cannot be understood or answered, or no particle meets all.
    """
    chosen = np.ones(len(latents.ids), dtype=bool)
    for condition in conditions:
        chosen &= _meets(run, latents, condition)
    if not chosen.any():
        wanted = " and ".join(conditions)
        raise InputError(
            run.path, "no particle that is chosen", f"some with {wanted}", "Ask for less."
        )
    return chosen


def _meets(run: Run, latents: Latents, condition: str) -> Bool[np.ndarray, " n"]:
    parts = COMPARISON.fullmatch(condition.strip())
    name, sign, value = parts.groups() if parts else (None, None, "")
    if name == "cluster" and sign == "=":
        return _in_clusters(run, latents, value)
    if name == "ids" and sign == "=":
        return _named(latents, Path(value))
    columns = quantities(latents)
    if name not in columns or sign not in ORDER:
        known = ", ".join(["cluster", "ids", *columns])
        raise InputError("`select`", condition, FORMS, f"This run has: {known}.")
    try:
        return ORDER[sign](columns[name], float(value))
    except ValueError:
        raise InputError("`select`", condition, f"a number after {sign}", "Give one.") from None


def _in_clusters(run: Run, latents: Latents, value: str) -> Bool[np.ndarray, " n"]:
    labels = cluster_labels(run, latents)
    if labels is None:
        raise InputError(
            run.path, "no analysis", "an analysed run", f"Run cryolatent analyze {run.path} first."
        )
    last = int(labels.max())
    wanted = value.split(",")
    if not all(part.strip().isdecimal() and int(part) <= last for part in wanted):
        raise InputError(
            "`select`", f"cluster={value}", f"numbers from 0 to {last}", "Separate them by commas."
        )
    return np.isin(labels, [int(part) for part in wanted])


def _named(latents: Latents, path: Path) -> Bool[np.ndarray, " n"]:
    """Particles by name; the name without ``#1`` means every copy."""
    try:
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(path, reason, "one particle's name a line", "Check the name.") from None
    own = original_names(latents.ids)
    known = {*latents.ids.tolist(), *own}
    unknown = next((at for at, name in enumerate(names) if name not in known), None)
    if unknown is not None:
        raise InputError(
            path,
            f"no particle {names[unknown]} in the run",
            f"names such as {latents.ids[0]}",
            "Write the names as the run's latents/final.parquet has them.",
            row=f"line {unknown + 1}",
        )
    return np.isin(latents.ids, names) | np.isin(own, names)

"""Particles of a run chosen by cluster, by name, or by what is believed of them."""

import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from cryolatent.analysis.reliability import reliability
from cryolatent.data import original_names
from cryolatent.errors import InputError
from cryolatent.models.latents import Latents
from cryolatent.runs.run import Run

COMPARISON = re.compile(r"(\w+?)\s*(<=|>=|<|>|=)\s*(.+)")
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
FORMS = "state=0,2, cluster=0,2, ids=FILE, or a comparison such as z0>0.5, share3>=0.8, elbo<-2000"


def quantities(run: Run, latents: Latents) -> dict[str, np.ndarray]:
    """What is believed of each particle, by the names that selections use.

    Args:
        run: A finished run.
        latents: Its latents.

    Returns:
        The means ``z0 ...`` of a continuous posterior; ``share0 ...`` and ``state`` of a run that
        found states; and ``elbo``, or ``log_joint`` of points; ``evidence`` where it is known;
        ``reliability`` from 0 to 1; ``is_particle`` and ``contrast`` where they were doubted.
    """
    columns = {}
    if not latents.distribution.is_discrete:
        means = latents.distribution.mean.numpy()
        columns |= {f"z{axis}": means[:, axis] for axis in range(means.shape[1])}
    shares = state_shares(run, latents)
    if shares is not None:
        columns |= {f"share{k}": shares[:, k] for k in range(shares.shape[1])}
        columns["state"] = shares.argmax(axis=1)
    scores = {name: getattr(latents, name) for name in ("elbo", "log_joint", "evidence")}
    trusted = reliability_of(latents, shares)
    if trusted is not None:
        columns["reliability"] = trusted
    if latents.beliefs is not None:
        columns["is_particle"] = latents.beliefs.probability.numpy()
        columns["contrast"] = latents.beliefs.contrast.numpy()
    return columns | {name: value.numpy() for name, value in scores.items() if value is not None}


def reliability_of(
    latents: Latents, shares: Float[np.ndarray, "n k"] | None
) -> Float[np.ndarray, " n"] | None:
    """How far each particle can be relied on, by what is believed of it.

    Args:
        latents: Those of a run.
        shares: Probabilities of its states, if it found any.

    Returns:
        `reliability`; None of points, which claim nothing.
    """
    q, beliefs = latents.distribution, latents.beliefs
    certainty = None if q.is_discrete or not q.mean.shape[1] else q.certainty
    return reliability(
        None if beliefs is None else beliefs.probability.numpy(),
        shares,
        None if certainty is None else certainty.numpy(),
    )


def state_shares(run: Run, latents: Latents) -> Float[np.ndarray, "n k"] | None:
    """Probabilities of the states that a run found.

    Args:
        run: A finished run.
        latents: Its latents.

    Returns:
        One row per particle; None of a run that found none.
    """
    states = latents if latents.distribution.is_discrete else run.states()
    return None if states is None else states.distribution.mean.numpy()


def labels_by(run: Run, latents: Latents, by: Literal["state", "cluster"]) -> Int[np.ndarray, " n"]:
    """The state, or the cluster, of each particle.

    Args:
        run: A finished run.
        latents: Its latents.
        by: Which of them.

    Returns:
        One number per particle.

    Raises:
        InputError: If the run has found no states, or has not been analysed.
    """
    if by == "cluster":
        labels = cluster_labels(run, latents)
        if labels is None:
            way_out = f"Run cryolatent analyze {run.path} first."
            raise InputError(run.path, "no analysis", "an analysed run", way_out)
        return labels
    shares = state_shares(run, latents)
    if shares is None:
        way_out = "Take the clusters of its analysis instead of states."
        raise InputError(run.path, "a run without states", "a run that found states", way_out)
    return shares.argmax(axis=1)


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
        conditions: ``state=0,2``, ``cluster=0,2``, ``ids=FILE`` (one name a line), or a comparison
            of a quantity with a number.

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
    if name in ("cluster", "state") and sign == "=":
        return _in_groups(name, labels_by(run, latents, name), value)
    if name == "ids" and sign == "=":
        return _named(latents, Path(value))
    columns = quantities(run, latents)
    if name not in columns or sign not in ORDER:
        known = ", ".join(["cluster", "ids", *columns])
        raise InputError("`select`", condition, FORMS, f"This run has: {known}.")
    try:
        return ORDER[sign](columns[name], float(value))
    except ValueError:
        raise InputError("`select`", condition, f"a number after {sign}", "Give one.") from None


def _in_groups(name: str, labels: Int[np.ndarray, " n"], value: str) -> Bool[np.ndarray, " n"]:
    last = int(labels.max())
    wanted = value.split(",")
    if not all(part.strip().isdecimal() and int(part) <= last for part in wanted):
        raise InputError(
            "`select`", f"{name}={value}", f"numbers from 0 to {last}", "Separate them by commas."
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

"""What runs are to each other, by what their manifests and options record."""

from collections.abc import Sequence
from pathlib import Path

from cryolatent.report.provenance import flat
from cryolatent.runs.run import Run

SEED = ("session", "seed")
LEFT_OUT = (("session", "threads"), ("session", "device"))


def kinship(runs: Sequence[Run]) -> list[list[str]]:
    """Say of each run what it is, and what it is to the others.

    Args:
        runs: Runs in any folders.

    Returns:
        Short sentences without a full stop, for each run.
    """
    return [_own(run) + [_to(run, other) for other in runs if _to(run, other)] for run in runs]


def _own(run: Run) -> list[str]:
    manifest = run.manifest
    facts = [f"{run.config.posterior.kind}, seed {manifest.seed}"]
    if run.config.twin is not None:
        facts.append(f"control: the posterior sees the {run.config.twin} twin")
    if manifest.origin:
        facts.append(f"imported from {manifest.origin}")
    return facts + [f"started from {Path(parent).name}" for parent in manifest.parents]


def _to(run: Run, other: Run) -> str:
    """What another run is to a run; empty of a run to itself and of strangers."""
    if other.path.resolve() == run.path.resolve():
        return ""
    if other.manifest.input_sha256 != run.manifest.input_sha256:
        return ""
    mine, theirs = ({k: str(v) for k, v in flat(one.config).items()} for one in (run, other))
    unlike = {key for key in mine | theirs if mine.get(key) != theirs.get(key)} - set(LEFT_OUT)
    if not unlike:
        return f"repeats {other.name}"
    if unlike == {SEED}:
        return f"{other.name} with another seed"
    names = [name for _, name in sorted(unlike)]
    if len(names) <= 2:
        return f"{other.name} but for {' and '.join(names)}"
    return f"same particles as {other.name}"

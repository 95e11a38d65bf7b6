"""One training on digits and everything that is measured of it: a job of its own process."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryolatent.analysis.bootstrap import mean_estimate
from cryolatent.audits import displacement
from cryolatent.config.infer import InferConfig
from cryolatent.config.training import TrainConfig
from cryolatent.data import DigitSet, open_digits
from cryolatent.errors import NonFiniteError
from cryolatent.io.files import write_text_atomically
from cryolatent.models.system import System
from cryolatent.runs.run import Run
from cryolatent.sessions.systems import as_shown, restore
from cryolatent.sessions.training import opened, trained
from cryolatent.sessions.unseen import infer_unseen
from cryolatent.studies.mnist.experiments import Experiment, Move
from cryolatent.studies.mnist.measures import (
    MOST,
    NEIGHBOURS,
    Measures,
    Moved,
    Reader,
    cross_entropy_of_mean,
    distance_from_normal,
    label_accuracy,
    moved_evidence,
    rendered,
    share,
    voted,
)
from cryolatent.studies.training import MEASURES, PICTURES, save_pictures
from cryolatent.train import infer

ASKED = 2000
"""Pictures whose reconstructions are read, and which are moved."""
FITTED = 256
"""Held-out pictures whose posteriors are fitted."""
FIT = InferConfig(starts=1, pool=256, steps=100)
"""With two dimensions the pool finds the right place; further starts gain little."""
SHOWN = 10
GRID = 15


@dataclass(frozen=True)
class Digits:
    """The data of all experiments.

    Args:
        path: Where they lie, or None for the built-in ones.
        hold_out: Share kept aside where there are no test digits.
    """

    path: Path | None
    hold_out: float = 0.1

    def sets(self) -> tuple[DigitSet, DigitSet]:
        """Those to train on, and those kept aside."""
        return open_digits(self.path, hold_out=self.hold_out)


@dataclass(frozen=True)
class Task:
    """A training and what is wanted of it.

    Args:
        path: The run.
        experiment: What is trained.
        seed: Fixes every random choice.
        epochs: Passes over the digits, if not the report's.
        parents: Runs of which a table starts from the best.
        moves: Moves of the pictures that the trained encoder is shown, by experiment.
    """

    path: Path
    experiment: Experiment
    seed: int = 0
    epochs: int | None = None
    parents: tuple[Path, ...] = ()
    moves: dict[str, Move] = field(default_factory=dict)

    def config(self) -> TrainConfig:
        """The options of the training.

        A run that was begun keeps its parent: with other seeds another might be the best.

        Returns:
            Options.

        Raises:
            NonFiniteError: If every parent diverged.
        """
        parent = None
        if self.parents:
            begun = self.path / "manifest.json"
            own = Run.open(self.path).config.parent if begun.exists() else None
            kept = own is not None and own.parent == self.parents[0].parent
            parent = own if kept else best_of(self.parents)
        return self.experiment.config(self.seed, parent, self.epochs)


def best_of(runs: tuple[Path, ...]) -> Path:
    """The run that explains its digits best: some trainings stick in a poor minimum.

    Args:
        runs: Runs that have been measured.

    Returns:
        The one of the lowest reconstruction and KL terms together.

    Raises:
        NonFiniteError: If all of them diverged.
    """
    found = {run: Measures.model_validate_json((run / MEASURES).read_text()) for run in runs}
    finite = [run for run, measures in found.items() if not measures.diverged]
    if not finite:
        raise NonFiniteError(f"every run beside {runs[0]} diverged: there is nothing to start from")
    return min(finite, key=lambda run: found[run].reconstruction + (found[run].kl or 0.0))


def work(task: Task, digits: Digits) -> Measures:
    """Train, measure and picture; what is finished is kept.

    Args:
        task: The training.
        digits: The data.

    Returns:
        What was measured.

    Raises:
        InputError: If the run was made with other options or other digits.
    """
    kept, held = digits.sets()
    try:
        config = task.config()
    except NonFiniteError:
        return Measures(diverged=True)
    run = opened(task.path, config, kept)
    path = task.path / MEASURES
    if run is not None and path.exists():
        found = Measures.model_validate_json(path.read_text())
        made = {name: moved.move for name, moved in found.moves.items()}
        if found.diverged or task.moves.items() <= made.items():
            return found
    try:
        run = trained(run, task.path, config, kept)
        measures = measure(run, task, kept, held)
    except NonFiniteError:
        entries = Run.open(task.path).entries()
        measures = Measures(
            diverged=True,
            steps=entries[-1]["step"] if entries else 0,
            reconstructions=tuple(entry["reconstruction"] for entry in entries),
        )
    write_text_atomically(path, measures.model_dump_json(indent=2))
    return measures


def measure(run: Run, task: Task, kept: DigitSet, held: DigitSet) -> Measures:
    """Measure a finished run.

    Args:
        run: The run.
        task: What is wanted of it.
        kept: Its digits.
        held: Digits that it has not seen.

    Returns:
        Its numbers; pictures are written.
    """
    latents, system, entries = run.latents(), restore(run), run.entries()
    z = latents.distribution.mean
    rows = spread_rows(len(kept), ASKED)
    reader = Reader(kept)
    pictures = rendered(system.model.decoder, z[rows])
    arrays = _pictures(system, kept, z)
    moves = {}
    for name, move in task.moves.items():
        moves[name], drawn = _moved(system, kept.select(rows), move, reader)
        arrays |= {f"{name}-{key}": value for key, value in drawn.items()}
    save_pictures(run.path / PICTURES, arrays)
    is_bound = latents.distribution.is_bound
    measures = Measures(
        steps=entries[-1]["step"],
        core_seconds=entries[-1]["cpu_seconds"],
        reconstructions=tuple(entry["reconstruction"] for entry in entries),
        kls=tuple(e["kl" if is_bound else "negative_log_prior"] for e in entries),
        reconstruction=float(torch.as_tensor(latents.reconstruction).mean()),
        kl=float(latents.kl.mean()) if is_bound else None,
        bound=None if latents.elbo is None else mean_estimate(latents.elbo.numpy()[:MOST]),
        mean_image=cross_entropy_of_mean(kept.values),
        labels=label_accuracy(*_first(z.numpy(), kept.labels)),
        correct=share(reader.correct(pictures, kept.labels[rows.numpy()])),
        not_normal=distance_from_normal(z.numpy().astype(float)),
        moves=moves,
    )
    return measures.model_copy(update=_unseen(run, system, z.numpy(), kept, held, reader))


def _first(
    z: Float[np.ndarray, "n zdim"], labels: Int[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spread rows: files may be sorted by digit."""
    rows = spread_rows(len(z), MOST).numpy()
    return z[rows], labels[rows]


def spread_rows(count: int, most: int) -> Int[Tensor, " n"]:
    """Rows from all over a table.

    Args:
        count: Rows that there are.
        most: Rows wanted.

    Returns:
        At most as many, ascending.
    """
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def _unseen(
    run: Run,
    system: System,
    z: Float[np.ndarray, "n zdim"],
    kept: DigitSet,
    held: DigitSet,
    reader: Reader,
) -> dict[str, object]:
    """Numbers of digits that no training saw.

    A twin's encoder is shown twins of these too, so fits to what it is shown would say nothing.
    """
    amortised = system.posterior.is_amortised
    part = held.select(spread_rows(len(held), len(held) if amortised else FITTED))
    part = as_shown(run.config, part)
    seed = run.config.session.seed
    found = infer(system, part, seed) if amortised else infer_unseen(run, part, FIT).latents
    theirs = found.distribution.mean
    gap = None
    if amortised and part.twin is None:
        fitted = part.select(spread_rows(len(part), FITTED))
        refined = infer_unseen(run, fitted, FIT.model_copy(update={"refine": True}))
        gap = None if refined.gain is None else mean_estimate(refined.gain.numpy())
    near = voted(*_first(z, kept.labels), theirs.numpy(), NEIGHBOURS)
    pictures = rendered(system.model.decoder, theirs)
    return {
        "held_labels": float((near == part.labels).mean()),
        "held_correct": share(reader.correct(pictures, part.labels)),
        "held_bound": None if found.elbo is None else mean_estimate(found.elbo.numpy()),
        "gap": gap,
    }


@torch.no_grad()
def _moved(
    system: System, digits: DigitSet, move: Move, reader: Reader
) -> tuple[Moved, dict[str, np.ndarray]]:
    """Show an encoder moved pictures."""
    batch = digits.batch(torch.arange(len(digits)))
    shown = moved_evidence(batch.evidence, digits.geometry.box, move, 0)
    before, after = (
        system.posterior(each, system.model).mean
        for each in (batch, replace(batch, evidence=shown))
    )
    found = displacement(before.double().numpy(), after.double().numpy())
    pictures = rendered(system.model.decoder, after)
    first = first_of_each(digits.labels)
    drawn = {
        "before": before.numpy(),
        "after": after.numpy(),
        "labels": digits.labels,
        "first": first,
        "inputs": shown.images[torch.from_numpy(first)].clamp(0, 1).numpy(),
        "outputs": pictures[torch.from_numpy(first)].numpy(),
    }
    return (
        Moved(
            move=move,
            displacement=None if found is None else found.median,
            null=None if found is None else found.null,
            correct=share(reader.correct(pictures, digits.labels)),
        ),
        drawn,
    )


def first_of_each(labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """The first picture of each digit, and the next.

    Args:
        labels: Digits of pictures.

    Returns:
        Positions: the firsts in the order of the digits, then the seconds.
    """
    places = [np.flatnonzero(labels == digit)[:2] for digit in range(10)]
    return np.array([p[turn] for turn in range(2) for p in places if len(p) > turn], dtype=int)


@torch.no_grad()
def _pictures(
    system: System, digits: DigitSet, z: Float[Tensor, "n zdim"]
) -> dict[str, np.ndarray]:
    rows = spread_rows(len(z), MOST)
    first = first_of_each(digits.labels)
    decoder = system.model.decoder
    arrays = {
        "plane": _plane(z[rows].numpy()),
        "labels": digits.labels[rows.numpy()],
        "inputs": digits.values[torch.from_numpy(first)].numpy(),
        "outputs": rendered(decoder, z[torch.from_numpy(first)]).numpy(),
    }
    if z.shape[1] == 2:
        axes = [torch.linspace(*_range(column), GRID) for column in z.T]
        across, up = torch.meshgrid(axes[0], axes[1].flip(0), indexing="xy")
        arrays["manifold"] = rendered(decoder, torch.stack([across, up], -1).flatten(0, 1)).numpy()
    return arrays


def _range(column: Float[Tensor, " n"]) -> tuple[float, float]:
    low, high = np.quantile(column.numpy(), (0.02, 0.98))
    return float(low), float(high)


def _plane(z: Float[np.ndarray, "n zdim"]) -> Float[np.ndarray, "n 2"]:
    """The latents, or their first two principal components, as in the published code."""
    if z.shape[1] == 2:
        return z
    from sklearn.decomposition import PCA

    return PCA(2, random_state=0).fit_transform(z)

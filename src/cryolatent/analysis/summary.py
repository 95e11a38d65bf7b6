"""What an analysis found, as numbers with intervals; ``analysis/summary.json``."""

from pathlib import Path

from pydantic import ValidationError

from cryolatent.analysis.map_details import LatentDensity, MapDetails
from cryolatent.errors import InputError
from cryolatent.io.files import write_text_atomically
from cryolatent.runs.finding import Estimate, Record
from cryolatent.runs.run import Run


class MeasuredMap(Record):
    """The map of a state's or cluster's own particles, each weighted by its probability."""

    file: str
    """The map, relative to the run directory; its half-maps end in ``_half1`` and ``_half2``."""

    effective_particles: float
    """Square of the sum of the weights over the sum of their squares."""

    others: float
    """Share of the weight that particles have which are more probably of another state."""

    independent: bool
    """Whether nothing that entered a half-map, poses and probabilities included, knew of the other
    half."""

    resolution_angstrom: float | None
    """Where the half-maps' correlation falls below 0.143, in Å; None if they have nothing in
    common."""

    fsc: tuple[float, ...]
    """That correlation, shells 0 to box / 2 - 1; behind the run's mask and corrected for it by
    random phases, if there is one."""

    masked: bool
    """Whether there is one."""

    details: MapDetails | None = None
    """Local resolution, differences and occupancies; None where maps were not compared."""

    @property
    def is_mixed(self) -> bool:
        """Whether too much of it is another state's."""
        return self.others > MOST_OF_OTHERS


class Cluster(Record):
    """A state, or a cluster of latents; the volume of the model, and the particles' own map."""

    number: int
    """Counted from zero; that of ``share0 ...`` in every file, if it is a state."""

    size: int
    """Number of particles of which it is the most probable, those that may be none included."""

    population: Estimate | None = None
    """Share of the particles that it has: mean probability, particles that are none left out."""

    certainty: Estimate | None = None
    """Mean probability of its own particles to be of it; None where nothing says so."""

    measured: MeasuredMap | None = None
    """The map of its own particles; None if they are too few, or have no images."""

    medoid: str
    """Name of the particle nearest to the centre."""

    volume: str | None = None
    """File of the volume, relative to the run directory; None without a decoder."""

    nearest_state: str | None = None
    """True state whose particles prevail, where the truth is known; None where junk prevails."""

    purity: float | None = None
    """Share of the cluster's particles in that state."""

    fsc: tuple[float, ...] | None = None
    """Correlation of the volume with that state's, shells 0 to box / 2 - 1."""

    resolution_angstrom: float | None = None
    """Where that correlation falls below 0.5, in Å."""


MOST_OF_OTHERS = 0.2
"""Share of a map's weight from particles of other states from which it is not this state's map."""


class MotionComparison(Record):
    """Comparison of latents with the true angle of what moves continuously."""

    range_degrees: float
    """Angles lie within plus and minus half of this."""

    particles: int
    """Number of particles that have a moving part."""

    r2: Estimate
    """Share of the angle's variance that a particle's neighbours in latent space predict."""

    correlation: Estimate
    """Absolute rank correlation of those predictions with the angle."""

    oracle_r2: Estimate
    """The first for the oracle: the mean angle given the true volumes, contrasts and noise, and
    the true poses."""

    oracle_correlation: Estimate
    """The second for the oracle."""


class RefinedComparison(Record):
    """Refined poses and junk against the truth."""

    recorded_degrees: float
    """Root-mean-square angle by which recorded orientations are off."""

    refined_degrees: float
    """The same for refined ones."""

    recorded_pixels: float
    """Root-mean-square error of recorded shifts along an axis."""

    refined_pixels: float
    """The same for refined ones."""

    junk_auc: float | None
    """Area under the curve by which the probability to be a particle tells junk; None if there
    is none."""


class TruthComparison(Record):
    """Comparison with a simulation's truth; junk particles are left out."""

    state_names: tuple[str, ...]
    """Names of the states."""

    junk: int
    """Number of junk particles."""

    snr: float
    """Signal-to-noise ratio of the simulation."""

    diameter_to_box: float
    """Diameter of the molecule over the side of the box."""

    ari: Estimate | None
    """Adjusted Rand index of the clusters against the states; None if there is only one."""

    oracle_ari: Estimate | None
    """The same for the oracle: the most likely state given the true volumes, contrasts and noise,
    and the true poses."""

    fsc_area: Estimate | None = None
    """Mean area under the per-image FSC curve; None without a decoder."""

    fsc_area_ceiling: float = 0.0
    """The largest area that the shells used allow."""

    fsc_particles: int = 0
    """Number of particles that the mean was taken over."""

    motion: MotionComparison | None = None
    """Comparison with the continuous motion, where there is one of at least ten particles."""

    refined: RefinedComparison | None = None
    """Refined poses and junk, of a run that doubted what is recorded."""


class TableMovement(Record):
    """How far a table's means moved from their start."""

    correlation: float | None
    """Correlation of start and end over all entries; None if either is constant."""

    displacement: float
    """Mean absolute difference of start and end over all entries, in standard deviations of the
    prior."""

    displacement_of_spread: float | None
    """The same in standard deviations of the start; None if that is constant."""

    frozen: bool
    """Whether the table was not to move: its learning rate is zero."""

    @property
    def stayed(self) -> bool:
        """Whether the table is where it started, though it was trained."""
        same = self.correlation is None or self.correlation > 0.99
        return same and self.displacement < 0.1 and not self.frozen

    @property
    def remark(self) -> str | None:
        """What to tell the user, if anything."""
        if self.frozen:
            return "The table was kept at its start (table learning rate 0)."
        if not self.stayed:
            return None
        correlation = "" if self.correlation is None else f"correlation {self.correlation:.4f}, "
        return (
            f"WARNING: the table did not move from its start ({correlation}mean displacement "
            f"{self.displacement:.2g} of the prior's standard deviation). Its latents say what the "
            "start said, not what the images say: raise the table's learning rate or the epochs."
        )


class Summary(Record):
    """The findings of one run."""

    run: str
    """Name of the run."""

    posterior: str
    """Kind of posterior."""

    particles: int
    """Number of particles."""

    z_dim: int
    """Number of latent dimensions."""

    elbo: Estimate | None = None
    """Evidence lower bound, in nats per particle; None for points, which give no bound."""

    kl: Estimate | None = None
    """Divergence from the prior, in nats per particle; None for points."""

    log_joint: Estimate | None = None
    """Log joint density of images and points (MAP), in nats per particle; for points alone."""

    pca_explained: tuple[float, ...]
    """Share of the latents' variance in each principal component."""

    clusters: tuple[Cluster, ...]
    """States in the order of their numbers, or clusters, largest first."""

    are_states: bool = False
    """Whether they are states that the run found, not clusters of a continuous latent."""

    junk: int = 0
    """Number of particles that are more probably none."""

    clusters_asked: int | None
    """Number of clusters asked for; fewer are found if there are fewer distinct latents."""

    seed: int
    """Seed of UMAP, k-means and the choice of particles."""

    mistakable: tuple[float, ...] | None = None
    """Share of each dimension that wrong poses or contrasts could pass for, of an exact run."""

    density: LatentDensity | None = None
    """Where the latents are; None of states, and of latents whose widths are not known."""

    truth: TruthComparison | None = None
    """Comparison with the truth, where it was given."""

    table_movement: TableMovement | None = None
    """How far the table moved, if the posterior is one."""

    @property
    def word(self) -> str:
        """What one of the groups is called: ``state`` or ``cluster``."""
        return "state" if self.are_states else "cluster"


def write_summary(run: Run, summary: Summary) -> None:
    """Write ``analysis/summary.json``.

    Args:
        run: The run.
        summary: Its findings.
    """
    path = run.analysis / "summary.json"
    write_text_atomically(path, summary.model_dump_json(indent=2))


def read_summary(run: Run) -> Summary:
    """Read ``analysis/summary.json``.

    Args:
        run: An analysed run.

    Returns:
        Its findings.

    Raises:
        InputError: If the run has not been analysed, or by another version.
    """
    path: Path = run.analysis / "summary.json"
    if not path.exists():
        raise InputError(
            run.path,
            "no analysis",
            "an analysed run",
            f"Analyse it first: cryolatent analyze {run.path}",
        )
    try:
        return Summary.model_validate_json(path.read_text())
    except ValidationError:
        way_out = f"Analyse it again: cryolatent analyze {run.path}"
        raise InputError(path, "an analysis of another version", "one of this", way_out) from None

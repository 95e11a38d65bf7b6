"""What a training and an analysis found, in words."""

from collections.abc import Callable, Sequence

from cryolatent.analysis.map_details import DifferenceMap, LatentDensity
from cryolatent.analysis.summary import Cluster, Summary
from cryolatent.models.latents import Latents
from cryolatent.runs.inputs import said_of_inputs
from cryolatent.runs.run import Run
from cryolatent.train.choice import MOST_STATES, READING, Choice

WAY_OUT = {
    "dimensions": "give a larger --z-dim to see whether there are more",
    "states": "give --states, or look at the latent space of an exact run",
}
NOTHING = "no heterogeneity that these particles can show"
SILENT = 0.05
"""Nats per particle below which a latent says nothing of its particle."""


def capped(run: Run) -> list[Choice]:
    """The choices that took the largest number that was tried, and might have taken more.

    Args:
        run: A finished run.

    Returns:
        Those of dimensions and states.
    """
    most = {"dimensions": run.config.posterior.z_dim, "states": MOST_STATES}
    return [c for c in run.choices() if c.name in most and c.chosen >= most[c.name]]


def found(run: Run) -> str:
    """Say what a finished run found.

    Args:
        run: The run.

    Returns:
        A sentence: states with their shares in the order of their numbers, dimensions, last shell.
    """
    parts = [*_heterogeneity(run), *_last_shell(run)]
    for choice in capped(run):
        way_out = WAY_OUT[choice.name]
        parts.append(f"as many {choice.name} as were tried ({choice.chosen}): {way_out}")
    inputs = said_of_inputs(run)
    if inputs:
        parts.append(f"recorded inputs under this model: {', '.join(inputs)}")
    return "; ".join(parts)


def named_bound(runs: Sequence[Run]) -> str:
    """Name the number that says how well runs explain their particles.

    Args:
        runs: Finished runs; those of points, which bound nothing, count for nothing.

    Returns:
        The evidence where posteriors are exact, its lower bound where they are not.
    """
    bounded = [latents for run in runs if (latents := run.latents()).elbo is not None]
    exact = {latents.evidence is not None for latents in bounded}
    if len(exact) == 2:
        return "Evidence or its lower bound (ELBO)"
    return "Evidence" if exact == {True} else "Evidence lower bound (ELBO)"


def stated(run: Run, summary: Summary) -> str:
    """Say what an analysis found.

    Args:
        run: The run.
        summary: What the analysis wrote.

    Returns:
        A sentence: states with their shares or the clusters that were made, dimensions, what the
        particles' own maps resolve, and how many images show no particle.
    """
    parts = [f"{summary.particles:,} particles", *_heterogeneity(run)]
    if not summary.are_states:
        count = len(summary.clusters)
        parts.append(f"cut into {count} cluster{'s' * (count != 1)}, which need not be states")
    if summary.z_dim and summary.kl is not None and summary.kl.value < SILENT:
        parts.append(f"the latents say nothing of the particles (KL {summary.kl.value:.2g} nats)")
    parts += _maps(summary)
    if summary.junk:
        share = 100 * summary.junk / summary.particles
        parts.append(f"{summary.junk:,} images ({share:.1f} %) more probably show no particle")
    return "; ".join(parts) + "."


def compared(summary: Summary) -> list[str]:
    """Say where maps of states differ, where latents are, and how much of each mask states fill.

    Args:
        summary: What the analysis wrote.

    Returns:
        A sentence for each state, for the density and for each mask; none of a single state.
    """
    lines, occupied = [], dict[str, list[str]]()
    for cluster in summary.clusters:
        details = cluster.measured and cluster.measured.details
        if not details:
            continue
        for difference in details.differences[:1]:
            lines.append(
                f"{summary.word} {cluster.number} less the consensus: {_where(difference)}"
            )
        for occupancy in details.occupancies:
            value = occupancy.value
            text = f"{cluster.number}: {value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
            occupied.setdefault(occupancy.mask, []).append(text)
    if summary.density is not None:
        lines.append(_density(summary.density))
    return lines + [
        f"{mask}, density of each {summary.word} over the largest of them: {', '.join(texts)}"
        for mask, texts in occupied.items()
    ]


def _density(density: LatentDensity) -> str:
    gain = f"{density.gain:+.3f} nats per particle beside a normal density"
    if density.modes is None or density.modes_share is None:
        return f"density of the latents, deconvolved: {gain}"
    maxima = f"{density.modes} maxim{'a' if density.modes != 1 else 'um'}"
    share = f"in {100 * density.modes_share:.0f} % of resamples"
    return f"density of the latent, deconvolved: {maxima} ({share}), {gain}"


def _where(difference: DifferenceMap) -> str:
    if not difference.voxels:
        return "no difference beyond noise"
    masses = "; ".join(
        f"{100 * region.mass:+.1f} % of the density at "
        f"({', '.join(f'{axis:.0f}' for axis in region.centre_angstrom)}) Å"
        for region in difference.regions
    )
    count, null = difference.voxels, difference.null_voxels
    return f"{count:,} voxels beyond noise ({null:,} in swapped half-maps), {masses}"


def _heterogeneity(run: Run) -> list[str]:
    latents, states = run.latents(), run.states()
    discrete = latents.distribution.is_discrete
    parts = []
    shown = latents if discrete else states
    if shown is not None:
        shares = _populations(latents, shown)
        listed = ", ".join(f"{100 * share:.0f}" for share in shares)
        parts.append(f"{len(shares)} state{'s' * (len(shares) != 1)}: {listed} %")
    elif any(choice.name == READING for choice in run.choices()):
        parts.append("no distinct states that these particles can show")
    if not discrete and not run.z_dim:
        parts.append(NOTHING)
    elif not discrete:
        parts.append(f"{run.z_dim} dimension{'s' * (run.z_dim != 1)}")
    if discrete and run.z_dim == 1:
        parts.append(NOTHING)
    return parts


def _populations(latents: Latents, shown: Latents) -> list[float]:
    real = latents.is_particle
    return ((real @ shown.distribution.mean) / real.sum()).tolist()


def _last_shell(run: Run) -> list[str]:
    manifest = run.manifest
    if not manifest.shells:
        return []
    last = manifest.box * manifest.pixel_size_angstrom / manifest.shells
    return [f"coefficients to {last:.1f} Å"]


def _maps(summary: Summary) -> list[str]:
    """What the particles' own maps resolve, and which of them are none."""
    measured = [c for c in summary.clusters if c.measured is not None]
    reached = [c.measured.resolution_angstrom for c in measured if c.measured is not None]
    resolved = sorted(value for value in reached if value is not None)
    parts = []
    if resolved:
        ends = sorted({f"{value:.1f}" for value in (resolved[0], resolved[-1])}, key=float)
        apart = all(c.measured.independent for c in measured if c.measured is not None)
        how = "halves trained apart" if apart else "halves share the run's poses and probabilities"
        what = "maps of their own particles" if len(resolved) > 1 else "a map of its own particles"
        what = "a map of all particles" if len(summary.clusters) == 1 else what
        parts.append(f"{what} to {'–'.join(ends)} Å ({how})")
    parts += _listed(summary, measured, "nothing in common between its halves", _is_noise)
    parts += _listed(summary, measured, "a map that is largely of other states", _is_mixed)
    missing = [c for c in summary.clusters if c.measured is None]
    if measured:
        parts += _listed(summary, missing, "too few particles for a map", lambda cluster: True)
    return parts


def _listed(
    summary: Summary, clusters: list[Cluster], what: str, is_so: Callable[[Cluster], bool]
) -> list[str]:
    chosen = [str(cluster.number) for cluster in clusters if is_so(cluster)]
    if not chosen:
        return []
    return [f"{summary.word}{'s' * (len(chosen) > 1)} {', '.join(chosen)}: {what}"]


def _is_noise(cluster: Cluster) -> bool:
    return cluster.measured is not None and cluster.measured.resolution_angstrom is None


def _is_mixed(cluster: Cluster) -> bool:
    return cluster.measured is not None and cluster.measured.is_mixed

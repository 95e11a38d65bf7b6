"""What a training found, in words."""

from cryolatent.runs.inputs import said_of_inputs
from cryolatent.runs.run import Run
from cryolatent.train.choice import MOST_STATES, READING, Choice

WAY_OUT = {
    "dimensions": "give a larger --z-dim to see whether there are more",
    "states": "give --states, or look at the latent space of an exact run",
}


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
        A sentence: states with their shares, dimensions, last shell.
    """
    latents, states = run.latents(), run.states()
    discrete = latents.distribution.is_discrete
    parts = []
    shown = latents if discrete else states
    if shown is not None:
        shares = sorted(shown.distribution.mean.mean(0).tolist(), reverse=True)
        listed = ", ".join(f"{100 * share:.0f}" for share in shares)
        parts.append(f"{len(shares)} state{'s' * (len(shares) != 1)}: {listed} %")
    elif any(choice.name == READING for choice in run.choices()):
        parts.append("no distinct states that these particles can show")
    if not discrete and not run.z_dim:
        parts.append("no heterogeneity that these particles can show")
    elif not discrete:
        parts.append(f"{run.z_dim} dimension{'s' * (run.z_dim != 1)}")
    if discrete and run.z_dim == 1:
        parts.append("no heterogeneity that these particles can show")
    manifest = run.manifest
    if manifest.shells:
        last = manifest.box * manifest.pixel_size_angstrom / manifest.shells
        parts.append(f"coefficients to {last:.1f} Å")
    for choice in capped(run):
        way_out = WAY_OUT[choice.name]
        parts.append(f"as many {choice.name} as were tried ({choice.chosen}): {way_out}")
    inputs = said_of_inputs(run)
    if inputs:
        parts.append(f"recorded inputs under this model: {', '.join(inputs)}")
    return "; ".join(parts)

"""What a run learned of its inputs."""

from cryolatent.models.nuisances import Nuisances
from cryolatent.runs.run import Run

PREFIX = "model.likelihood."


def nuisances_of(run: Run) -> Nuisances | None:
    """How wrong a run holds poses, contrast and particles to be.

    Args:
        run: A finished run.

    Returns:
        Priors that were learned; None of a run whose model has none.
    """
    tensors = run.checkpoint().tensors
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    return Nuisances.from_tensors(own) if "nuisance_widths" in own else None


def said_of_inputs(run: Run) -> list[str]:
    """How wrong the inputs look, and how unlike each other, in words.

    Args:
        run: A finished run.

    Returns:
        Clauses, to be joined; none of a method that doubts nothing, on images alike.
    """
    method = run.config.method
    nuisances = nuisances_of(run) if method.solves_volumes else None
    levels = run.noise_levels()
    words = [] if nuisances is None else nuisances.words(method.known_errors)
    return words if levels is None else [*words, levels.words()]


def said_of_junk(run: Run) -> str | None:
    """How many particles are held to be none, in words.

    Args:
        run: A finished run.

    Returns:
        A sentence; None if there are none, or all were believed to be particles.
    """
    beliefs = run.latents().beliefs
    count = 0 if beliefs is None else int((beliefs.probability < 0.5).sum())
    if beliefs is None or not count:
        return None
    return (
        f"{count:,} of {len(beliefs.probability):,} particles are more likely none than one. "
        "Volumes are hardly made from them, but maps and clusters show them; `cryolatent export "
        "--select 'is_particle>0.5'` leaves them out."
    )

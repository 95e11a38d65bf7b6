"""The command of half-maps that know nothing of each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from cryolatent.runs.run import Run
    from cryolatent.sessions.crossfit import CrossFit
    from cryolatent.train import Watch


def halves(
    run: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    states: int | None = None,
    relocate: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> None:
    """Train a run's model on each half of its particles apart, and correlate the states' half-maps.

    Everything that enters a half-map, refined poses and masks included, comes from its own half,
    from the recorded poses on. Halves are the file's own (rlnRandomSubset), or random. A half that
    is finished is kept, so an interrupted command continues.

    ```
    cryolatent halves run/ -o halves/
    cryolatent halves run/ -o halves/ --states 4
    ```

    Parameters
    ----------
    run
        A finished run of posterior exact or categorical.
    output
        Folder for the halves' runs, state_K_half1.mrc, state_K_half2.mrc and halves.json.
    states
        Number of states of each half; the run's own if left out.
    relocate
        OLD=NEW: what the run recorded in the folder OLD is now in NEW. May be given several times.
    """
    from cryolatent.analysis.halves import write_halves
    from cryolatent.errors import InputError
    from cryolatent.runs.run import Run

    opened = Run.open(run, relocate)
    opened.check_finished()
    if states is not None and states < 1:
        raise InputError("--states", str(states), "at least 1", "Leave it out.")
    found = trained_halves(opened, states or states_of(opened) or 1, output)
    for row in write_halves(found, output):
        shares = " and ".join(f"{100 * share:.0f}" for share in row.populations)
        agreed = (
            "nothing in common: no state that these particles can show twice"
            if row.resolution_angstrom is None
            else f"to {row.resolution_angstrom:.1f} Å (FSC 0.143)"
        )
        print(f"state {row.number}: {shares} % of the halves; {agreed}")
    print(f"wrote {output}")


def states_of(run: "Run") -> int | None:
    """How many states a run has found.

    Args:
        run: A finished run.

    Returns:
        Their number, 1 of a run without dimensions; None if it found a continuum alone.
    """
    latents, states = run.latents(), run.states()
    shown = latents if latents.distribution.is_discrete else states
    if shown is not None:
        return shown.distribution.mean.shape[1]
    return None if latents.distribution.mean.shape[1] else 1


def trained_halves(run: "Run", states: int, output: Path) -> "CrossFit":
    """Train on each half of a run's particles, and tell how far it has come.

    Args:
        run: A finished run.
        states: Number of states of each half.
        output: Folder of the halves' runs.

    Returns:
        Matched states.

    Raises:
        InputError: If the run's method is no expectation maximisation, or the folder holds
            something else.
    """
    from cryolatent.cli.progress import tell, training_watch
    from cryolatent.errors import InputError
    from cryolatent.sessions.crossfit import cross_fit

    if not run.config.method.solves_volumes:
        kind = run.config.posterior.kind
        way_out = "Train one: cryolatent train PARTICLES -o RUN."
        raise InputError(run.path, f"a run of posterior {kind}", "exact or categorical", way_out)
    stack = run.open_stack().select_ids(run.latents().ids)
    config = run.config.placed(run.moves.find, "method")
    with training_watch() as watch:

        def named(name: str) -> "Watch":
            tell(name)
            return watch

        return cross_fit(stack, config, states, output, watch=named)

"""The command of half-maps that know nothing of each other."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


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
    from cryolatent.cli.progress import tell, training_watch
    from cryolatent.errors import InputError
    from cryolatent.runs.run import Run
    from cryolatent.sessions.crossfit import cross_fit
    from cryolatent.train import Watch

    opened = Run.open(run, relocate)
    opened.check_finished()
    if not opened.config.method.solves_volumes:
        kind = opened.config.posterior.kind
        way_out = "Train one: cryolatent train PARTICLES -o RUN."
        raise InputError(run, f"a run of posterior {kind}", "exact or categorical", way_out)
    if states is not None and states < 1:
        raise InputError("--states", str(states), "at least 1", "Leave it out.")
    latents = opened.latents()
    shown = latents if latents.distribution.is_discrete else opened.states()
    own = 1 if shown is None else shown.distribution.mean.shape[1]
    stack = opened.open_stack().select_ids(latents.ids)
    with training_watch() as watch:

        def named(name: str) -> Watch:
            tell(name)
            return watch

        config = opened.config.placed(opened.moves.find, "method")
        found = cross_fit(stack, config, states or own, output, watch=named)
    for row in write_halves(found, output):
        shares = " and ".join(f"{100 * share:.0f}" for share in row.populations)
        agreed = (
            "nothing in common: no state that these particles can show twice"
            if row.resolution_angstrom is None
            else f"to {row.resolution_angstrom:.1f} Å (FSC 0.143)"
        )
        print(f"state {row.number}: {shares} % of the halves; {agreed}")
    print(f"wrote {output}")

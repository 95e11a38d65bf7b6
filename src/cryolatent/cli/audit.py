"""The command that asks whether a run's latents can be trusted."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


def audit(
    run: Path,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    with_controls: bool = False,
    replicas: Annotated[int, Parameter(validator=Number(gte=2))] = 5,
    others: Annotated[tuple[Path, ...], Parameter(name="--with", consume_multiple=True)] = (),
    relocate: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> int:
    """Ask whether a finished run's latents can be trusted: numbers, margins, verdicts, one page.

    Of any run, imported ones too. With controls an exact model is trained on each half of the
    particles and reads the other half: is there heterogeneity in particles that no model has seen,
    and do the run's latents hold it? Would the same run announce it of particles that do not
    differ? Without controls only what needs no training is asked. With other runs of the same
    particles, of whatever seed, options or program: do they find the same? Exit codes: 0 pass, 1
    fail, 3 inconclusive.

    ```
    cryolatent audit run/
    cryolatent audit run/ --with seed1/ seed2/ from_cryodrgn/
    cryolatent audit run/ --with-controls -o trust/
    ```

    Parameters
    ----------
    run
        A finished run, of cryolatent train or cryolatent import.
    output
        Folder for audit.json, audit.html and the controls; RUN/audit if left out. What is finished
        in it is kept, so an interrupted audit continues.
    with_controls
        Train models of each half, and replicas where they decide something: three to ten times the
        cost of one exact run of these particles.
    replicas
        How many times the run is repeated on particles that do not differ; few say little.
    others
        Finished runs of the same particles, which are found by their names. The group of each
        particle in every run and how much they differ go to OUTPUT/stability.parquet.
    relocate
        OLD=NEW: what was recorded in the folder OLD is now in NEW. May be given several times.
    """
    from cryolatent.audits.activity import Activity
    from cryolatent.audits.calibration import Calibration
    from cryolatent.audits.controls import controls
    from cryolatent.audits.gap import InferenceGap
    from cryolatent.audits.leakage import Leakage
    from cryolatent.audits.moves import RotationTest, ShiftTest
    from cryolatent.audits.stability import Stability, members_of
    from cryolatent.audits.trust import trust
    from cryolatent.cli.progress import tell, training_watch
    from cryolatent.cli.tables import print_trust
    from cryolatent.report.trust import write_trust
    from cryolatent.runs.run import Run
    from cryolatent.sessions.subject import RunSubject
    from cryolatent.train import Watch

    opened, folder = Run.open(run, relocate), output or run / "audit"
    opened.check_finished()
    subject = RunSubject(opened)
    moves = ShiftTest(consistent=True), RotationTest(consistent=True)
    audits = [Activity(run=opened), *moves, Calibration(), Leakage()]
    stability = None
    if others:
        compared = [opened, *(Run.open(path, relocate) for path in others)]
        stability = Stability(members=members_of(compared))
        audits = [stability, *audits]
    with training_watch() as watch:

        def named(name: str) -> Watch:
            tell(name)
            return watch

        if with_controls:
            stack = opened.open_stack().select_ids(subject.ids)
            audits += [InferenceGap()]
            own = opened if opened.config.method.trains else None
            audits = [
                *controls(
                    subject,
                    stack,
                    opened.config,
                    folder,
                    run=own,
                    replicas=replicas,
                    watch=named,
                ),
                *audits,
            ]
        findings = []
        for one in audits:
            tell(f"asking: {one.name}")
            findings.append(one.ask(subject))
    found = trust(opened.name, findings)
    print_trust(found)
    print(f"wrote {write_trust(found, folder, stability)}")
    return CODES[found.verdict]

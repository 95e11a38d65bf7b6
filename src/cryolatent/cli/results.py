"""The commands on finished runs: what was found, its page, volumes, particles."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from cryolatent.errors import InputError

Output = Annotated[Path, Parameter(name=["--output", "-o"])]
Relocate = Annotated[tuple[str, ...], Parameter(negative="")]


def analyze(
    run: Path,
    *,
    clusters: int | None = None,
    truth: Path | None = None,
    seed: int = 0,
    maps: bool = True,
    halves: Annotated[bool, Parameter(negative="")] = False,
    masks: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    relocate: Relocate = (),
) -> None:
    """Say what a run found: its states or clusters, with the map of each one's own particles.

    State k is number k everywhere: in share0, share1 ... of the latents, in files and in exports.
    Written into the run: analysis/maps with map, half-maps and local resolution of every state, of
    its particles weighted by their probabilities, and its differences from the consensus and from
    the other states with their significance, and states.cxc, which ChimeraX opens; analysis/volumes
    with the model's volumes; summary.json.

    ```
    cryolatent analyze run/
    cryolatent analyze run/ --halves
    cryolatent analyze run/ --masks head.mrc arm.mrc
    cryolatent analyze run/ --clusters 5 --truth data/truth
    ```

    Parameters
    ----------
    run
        A finished run.
    clusters
        Number of clusters; if left out the states that the run has found, or six.
    truth
        Truth folder of the simulation that the particles come from.
    seed
        Fixes UMAP and k-means.
    maps
        Reconstruct the maps of the states' own particles, which reads the images.
    halves
        Train the states on each half of the particles apart, as cryolatent halves does, so that
        half-maps know nothing of each other; takes about as long as the training. What is in
        RUN/halves is kept.
    masks
        MRC files of masks; how much of what is there each state has is its occupancy.
    relocate
        OLD=NEW: what the run recorded in the folder OLD is now in NEW. May be given several times.
    """
    from cryolatent.analysis import analyze as run_analysis
    from cryolatent.analysis.words import compared, stated
    from cryolatent.cli.halves import states_of, trained_halves
    from cryolatent.cli.progress import bar
    from cryolatent.cli.tables import print_comparison, print_groups
    from cryolatent.report.movies import states_script
    from cryolatent.runs.run import Run

    _check_at_least({"--clusters": (clusters, 1), "--seed": (seed, 0)})
    opened = Run.open(run, relocate)
    crossed = None
    if halves:
        own = states_of(opened)
        if own is None or clusters not in (None, own):
            raise InputError(
                "--halves",
                "clusters of a continuous latent" if own is None else f"--clusters {clusters}",
                "states, which each half finds by itself",
                "Leave it out.",
            )
        crossed = trained_halves(opened, own, run / "halves")
    with bar() as stage:
        summary = run_analysis(
            opened,
            clusters=clusters,
            truth=truth,
            seed=seed,
            maps=maps,
            halves=crossed,
            masks=masks,
            stage=stage,
        )
    states_script(opened)
    print_groups(summary)
    for line in compared(summary):
        print(line)
    print_comparison([opened], [summary])
    if summary.table_movement is not None and summary.table_movement.remark is not None:
        print(summary.table_movement.remark)
    print(f"{run}: {stated(opened, summary)}")
    print(f"wrote {run / 'analysis'}. Next: cryolatent report {run}")


def report(
    *runs: Path, output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
) -> None:
    """Write one self-contained HTML page on a run, or on several side by side.

    ```
    cryolatent report encoder/ table/ -o report.html
    ```

    Parameters
    ----------
    runs
        Analysed runs.
    output
        The page; by default report.html in the first run.
    """
    from cryolatent.report import render
    from cryolatent.runs.run import Run

    if not runs:
        raise InputError(
            "cryolatent report", "no run", "one or more run directories", "See --help."
        )
    page = render([Run.open(run) for run in runs], output or runs[0] / "report.html")
    print(f"wrote {page}")


def volumes(
    run: Path,
    *,
    output: Output,
    at: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    clusters: int | None = None,
    effective_particles: int | None = None,
    seed: int = 0,
    relocate: Relocate = (),
) -> None:
    """Reconstruct a run's states or clusters, or the particles around places of its latent space.

    Each volume is a backprojection with half-maps and their correlation, without the run's decoder.
    States and clusters are those of cryolatent analyze, by number, and particles count by their
    probabilities; around a place they count by a Gaussian of their latent's distance, which may
    not reach far into another state.

    ```
    cryolatent volumes run/ -o volumes/
    cryolatent volumes run/ -o volumes/ --clusters 4
    cryolatent volumes run/ -o volumes/ --at 000012@particles.mrcs 000047@particles.mrcs
    ```

    Parameters
    ----------
    run
        A finished run.
    output
        New folder for state_*.mrc (cluster_*.mrc, volume_*.mrc), half-maps and summary.json.
    at
        Names of particles, as in the STAR file, around which to reconstruct.
    clusters
        Number of clusters; if left out the states that the run has found, or six clusters.
    effective_particles
        Effective number of particles around a place, which fixes the Gaussian's width; without
        --at around the medoids. With --at a tenth of all, at least 100, or as many as the place's
        state allows, if left out.
    seed
        Fixes k-means, random halves and random phases.
    relocate
        OLD=NEW: what the run recorded in the folder OLD is now in NEW. May be given several times.
    """
    from cryolatent.analysis import local_volumes
    from cryolatent.cli.progress import bar
    from cryolatent.runs.run import Run

    _check_at_least({"--clusters": (clusters, 1), "--seed": (seed, 0)})
    opened = Run.open(run, relocate)
    with bar() as stage:
        made = local_volumes(
            opened,
            output,
            at=at,
            clusters=clusters,
            effective=effective_particles,
            seed=seed,
            stage=stage,
        )
    for volume in made.volumes:
        reached = volume.reconstruction.reached_angstrom
        said = "its halves have nothing in common"
        said = said if reached is None else f"{reached:.2f} Å (FSC 0.143)"
        place = f"around {volume.at}, " if volume.number is None else ""
        others = "" if volume.others is None else f" ({100 * volume.others:.1f} % of others)"
        count = f"{volume.effective_particles:.0f} effective particles{others}"
        print(f"{output / volume.file}: {place}{count}, {said}")
    print(f"wrote {output}")


def export(
    run: Path,
    *,
    output: Output,
    select: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    split: Literal["state", "cluster"] | None = None,
    relative_to: Path | None = None,
    keep_poses: Annotated[bool, Parameter(negative="")] = False,
    relocate: Relocate = (),
) -> None:
    """Write chosen particles of a run back as the file they came from.

    Every column that the file had stays as it was, as text; latent means, state or cluster and
    evidence are added. State k is RELION's class k + 1 (rlnClassNumber). Where the run doubted the
    poses, refined ones stand in the place of the recorded ones; what was there goes to columns of
    its own (cryolatentRecordedAngleRot ...). A particle of a symmetry-expanded run is written if
    any of its copies is chosen.

    ```
    cryolatent export run/ --split state -o particles.star
    cryolatent export run/ --select state=0,2 -o selected.star
    cryolatent export run/ --select cluster=0,2 -o selected.star
    cryolatent export run/ --select 'z0>0.5' --select 'z1<=2' -o selected.star
    cryolatent export run/ --select 'share3>0.8' -o selected.cs
    cryolatent export run/ --select 'is_particle>0.5' -o clean.star
    cryolatent export run/ --select ids=names.txt -o rows.npy
    ```

    Parameters
    ----------
    run
        A finished run; clusters need cryolatent analyze.
    output
        New file: .star if the run was trained on one, .cs if on one; .npy for row numbers of what
        the run was given, which --ind reads.
    select
        state=0,2, cluster=0,2, ids=FILE (one name a line), or a comparison of z0, z1 ..., share0
        ..., elbo or log_joint, is_particle or contrast with a number; all of them if there are
        several, all particles if left out.
    split
        Write a file for each state, or for each cluster of cryolatent analyze, and one of junk:
        out_state_0.star, out_state_1.star ... out_junk.star for -o out.star.
    relative_to
        Folder that a STAR file's images are named from, such as the folder of a RELION project; if
        left out names stay where the new file finds its images by them, else they are absolute.
    keep_poses
        Leave the recorded poses where they are.
    relocate
        OLD=NEW: what the run recorded in the folder OLD is now in NEW. May be given several times.
    """
    from cryolatent.analysis import export as run_export
    from cryolatent.analysis import export_split
    from cryolatent.runs.run import Run

    opened = Run.open(run, relocate)
    if split is None:
        written = [
            run_export(opened, output, select, keep_poses=keep_poses, relative_to=relative_to)
        ]
    else:
        written = export_split(
            opened, output, split, select, keep_poses=keep_poses, relative_to=relative_to
        )
    for done in written:
        print(f"wrote {done.path}: {len(done.rows)} of {done.particles} particles of {done.source}")


def _check_at_least(options: dict[str, tuple[int | None, int]]) -> None:
    """Refuse numbers that are too small, by the names of their options."""
    for option, (value, least) in options.items():
        if value is not None and value < least:
            raise InputError(option, str(value), f"at least {least}", "See --help.")

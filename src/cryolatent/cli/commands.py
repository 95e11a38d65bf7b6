"""The commands. Each imports what it needs when it runs, so that help is quick."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from cryolatent import __version__
from cryolatent.cli.audit import audit
from cryolatent.cli.doctor import doctor
from cryolatent.cli.exploring import explore
from cryolatent.cli.halves import halves
from cryolatent.cli.importing import importing
from cryolatent.cli.mnist import mnist
from cryolatent.cli.path import path
from cryolatent.cli.poses import abinitio
from cryolatent.cli.results import analyze, export, report, volumes
from cryolatent.config.flags import given, train_flags
from cryolatent.config.infer import InferConfig
from cryolatent.config.reading import PrepareConfig, ReadingConfig, TablesConfig
from cryolatent.config.training import TrainConfig
from cryolatent.errors import InputError
from cryolatent.simulate.config import SimulateConfig

app = App(
    name="cryolatent",
    version=__version__,
    help="Heterogeneous cryo-EM reconstruction with latent inference that can be swapped and "
    "tested.",
)
TrainFlags = train_flags()
TRAIN_DEFAULTS, SIMULATE_DEFAULTS = TrainFlags(), SimulateConfig()
READING_DEFAULTS, INFER_DEFAULTS = ReadingConfig(), InferConfig()
TABLES_DEFAULTS, PREPARE_DEFAULTS = TablesConfig(), PrepareConfig()
app.command(mnist)
app.command(abinitio)
app.command(doctor)
app.command(halves)
app.command(audit)
app.command(explore)
app.command(importing)
for command in (analyze, report, volumes, path, export):
    app.command(command)
Output = Annotated[Path, Parameter(name=["--output", "-o"])]


@app.command
def demo(*, output: Output = Path("demo")) -> None:
    """Simulate a small data set, infer states and a latent space exactly, compare them in a report.

    What is finished already is kept, so an interrupted demo continues.

    ```
    cryolatent demo -o demo
    ```

    Parameters
    ----------
    output
        Folder for data, runs and report.html.
    """
    from cryolatent.cli.progress import tell
    from cryolatent.cli.tables import print_comparison
    from cryolatent.studies.demo import demo as run_demo

    result = run_demo(output, tell=tell)
    print_comparison(result.runs, result.summaries)
    print(f"report: {result.report}")


@app.command
def simulate(
    *, output: Output, options: Annotated[SimulateConfig, Parameter(name="*")] = SIMULATE_DEFAULTS
) -> None:
    """Simulate a particle stack of known truth: STAR, MRCS and a truth folder.

    ```
    cryolatent simulate -o data/ --particles 5000 --box 64 --snr 0.1
    ```

    Parameters
    ----------
    output
        New folder for particles.star, particles.mrcs and truth/.
    """
    from cryolatent.cli.progress import bar
    from cryolatent.simulate.stack import simulate as run_simulation

    with bar() as stage:
        truth = run_simulation(options, output, stage("simulating", options.images))
    states = ", ".join(truth.state_names)
    print(f"{len(truth.ids)} particles, states: {states}")
    if truth.motion is not None:
        reach = truth.motion.range_degrees / 2
        print(f"{truth.moves.sum()} of them with a part that turns by up to ±{reach:g} degrees")
    print(f"signal-to-noise ratio {truth.snr:g}, diameter / box {truth.diameter_to_box:.2f}")
    print(f"wrote {output / 'particles.star'}, {output / 'particles.mrcs'}, {output / 'truth'}")


@app.command
def prepare(
    particles: Path,
    *,
    output: Output,
    options: Annotated[PrepareConfig, Parameter(name="*")] = PREPARE_DEFAULTS,
) -> None:
    """Check every particle, bring images to one box, normalise them, and pack them in a folder.

    Every command reads the folder in place of the particle file. An interrupted call continues
    when it is repeated.

    ```
    cryolatent prepare particles.star -o packed/ --box 128
    cryolatent prepare particles.star -o packed/ --downsample 2 --dtype float16 --on-bad drop
    cryolatent train packed/ -o run/
    ```

    Parameters
    ----------
    particles
        RELION's .star, cryoSPARC's .cs, or images (.mrcs, .mrc, .txt) with --poses and --ctf; they
        may mix boxes and pixel sizes.
    output
        New folder for images.npy, particles.parquet, findings and manifest.json.
    """
    from cryolatent.cli.progress import bar
    from cryolatent.cli.tables import print_findings, print_packed
    from cryolatent.prepare.opening import open_mixed
    from cryolatent.prepare.packing import pack

    inverted = bool(options.invert_contrast)
    opened = open_mixed(
        particles,
        datadir=options.datadir,
        invert_contrast=inverted,
        tables=options.tables(),
        relocate=options.moves(),
    )
    with bar() as stage:
        done = pack(
            opened,
            output,
            options.packing(),
            invert_contrast=inverted,
            workers=options.workers,
            stage=stage,
            show=print_findings,
        )
    print_packed(done)


@app.command
def train(
    particles: Path | None = None,
    *,
    output: Output,
    config: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    options: Annotated[TrainFlags, Parameter(name="*")] = TRAIN_DEFAULTS,  # pyright: ignore[reportInvalidTypeForm]
) -> None:
    """Train a posterior and a decoder on a particle stack.

    Poses, CTF and pixel size are read from the particle file, or from cryoDRGN's. Each option
    belongs to a part; `cryolatent train --help-all` shows those of all parts.

    ```
    cryolatent train particles.star -o run/ --posterior table --z-dim 8
    cryolatent train images.mrcs -o run/ --poses poses.pkl --ctf ctf.pkl --ind ind.pkl
    cryolatent train -o run/ --resume --epochs 60
    ```

    Parameters
    ----------
    particles
        RELION's .star, cryoSPARC's .cs, images (.mrcs, .mrc, .txt) with --poses and --ctf, or a
        folder of cryolatent prepare.
    output
        New run directory.
    config
        TOML file of options, such as a run's config.toml; options given here override it.
    resume
        Continue the run in --output; of the other options only --epochs, --datadir, --memory and
        --relocate may differ.
    """
    from cryolatent.analysis.words import found
    from cryolatent.cli.progress import tell, training_watch
    from cryolatent.cli.training import resumable, resume_run
    from cryolatent.data import open_particles
    from cryolatent.data.adequacy import too_little
    from cryolatent.runs.run import Run
    from cryolatent.sessions.training import begin, verified
    from cryolatent.sessions.training import train as run_training

    asked = given(options)
    if (particles is None) != resume:
        raise InputError(
            "cryolatent train",
            "both or neither of them",
            "particles or --resume",
            "See --help.",
        )
    with resumable(output), training_watch() as watch:
        if particles is None:
            run, stack = resume_run(output, asked)
            verified(stack, watch)
        else:
            base = None if config is None else TrainConfig.from_toml(config)
            wanted = TrainConfig.of(asked) if base is None else base.changed(asked)
            stack = open_particles(particles, **wanted.data.reading())
            run = begin(output, wanted, stack, watch)
        for lack in too_little(stack):
            tell(f"warning: {lack}")
        threads = run.manifest.threads
        tell(f"{threads} thread{'s' * (threads != 1)}, device {run.manifest.device}")
        run_training(run, stack, watch)
    print(f"{run.path}: {len(stack)} particles, {found(Run.open(run.path))}")
    print(f"Next: cryolatent analyze {run.path}")


@app.command
def infer(
    run: Path,
    particles: Path,
    *,
    output: Output,
    datadir: Path | None = None,
    invert_contrast: bool | None = None,
    tables: Annotated[TablesConfig, Parameter(name="*")] = TABLES_DEFAULTS,
    options: Annotated[InferConfig, Parameter(name="*")] = INFER_DEFAULTS,
) -> None:
    """Infer the latents of any particles with a finished run, its decoder unchanged.

    Encoders and exact posteriors read them directly; what a table would hold is fitted particle by
    particle.

    ```
    cryolatent infer run/ others.star -o latents.parquet
    cryolatent infer encoder/ others.star -o latents.parquet --refine
    ```

    Parameters
    ----------
    run
        A finished run.
    particles
        Any particle file that train reads; box and pixel size are those of the run's particles.
    output
        New parquet file, with the columns of a run's latents/final.parquet.
    datadir
        Folder that image names are relative to, if not the particle file's own; the run's if left
        out.
    invert_contrast
        Negate the images; as the run did if left out.
    """
    from cryolatent.analysis import mean_estimate
    from cryolatent.cli.progress import training_watch
    from cryolatent.runs.latents import write_latents
    from cryolatent.runs.run import Run
    from cryolatent.sessions.unseen import infer_unseen, open_unseen

    if output.exists():
        raise InputError(output, "something there", "a new file", "Choose another -o.")
    opened = Run.open(run, tables.relocate)
    stack = open_unseen(
        opened,
        particles,
        datadir=datadir,
        invert_contrast=invert_contrast,
        tables=tables.tables(),
    )
    with training_watch() as watch:
        found = infer_unseen(opened, stack, options, watch)
    write_latents(output, found.latents)
    if found.gain is not None:
        gap = mean_estimate(found.gain.numpy())
        print(
            f"amortisation gap {gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}] nats per particle: "
            "ELBO of the fitted distributions less that of the encoder's, 95 % interval"
        )
    print(f"wrote {output}: {len(stack)} particles")


@app.command
def reproduce(
    *names: str,
    output: Output = Path("reproduce"),
    scale: Literal["small", "paper"] = "small",
    input: Path | None = None,
    decoder: Literal["both", "mlp", "subspace"] = "both",
    workers: int = 2,
    reading: Annotated[ReadingConfig, Parameter(name="*")] = READING_DEFAULTS,
) -> None:
    """Repeat the experiments of the technical report YALEU/TR-1565 and judge them by numbers.

    Each experiment is trained, measured against the truth and against the baseline, and set beside
    what the report saw. What is finished is kept, so a second call continues.

    ```
    cryolatent reproduce list
    cryolatent reproduce fig5 fig7 -o out/
    cryolatent reproduce all --scale small -o out/
    cryolatent reproduce all --scale paper --input particles.star -o out/
    ```

    Parameters
    ----------
    names
        Figures (fig3 to fig26), experiments by name, all, or list to show them. Figures 11 to 18
        are those of cryolatent mnist; digits stands for its all, and all holds it if there are
        digits.
    output
        Folder for data, runs and reproduce.html; digits have a folder in it.
    scale
        small takes less than an hour on two cores; paper is the report's own size.
    input
        RELION particle file; the built-in double of the report's data if left out.
    decoder
        The report's coordinate network, the much cheaper subspace decoder, or both.
    workers
        Trainings side by side, one thread each.
    """
    from cryolatent.cli.progress import bar, tell
    from cryolatent.cli.tables import print_experiments
    from cryolatent.studies.mnist.mnist import Request as DigitRequest
    from cryolatent.studies.mnist.mnist import run_digits, split_digits
    from cryolatent.studies.reproduce.experiments import EXPERIMENTS
    from cryolatent.studies.reproduce.reproduce import DECODERS, Request
    from cryolatent.studies.reproduce.reproduce import reproduce as run_reproduction
    from cryolatent.studies.reproduce.scales import SCALES

    if not names or "list" in names:
        print_experiments(EXPERIMENTS)
        return
    if workers < 1:
        raise InputError("--workers", str(workers), "at least 1", "See --help.")
    digits, others = split_digits(names)
    if digits:
        print(
            f"report: {run_digits(DigitRequest(digits, output / 'digits', workers=workers), tell)}"
        )
    if not others:
        return
    request = Request(
        names=others,
        output=output,
        scale=SCALES[scale],
        decoders=DECODERS if decoder == "both" else (decoder,),
        star=input,
        reading=reading,
        workers=workers,
    )
    with bar() as stage:
        page = run_reproduction(request, tell, stage)
    print(f"report: {page}")


@app.command
def backproject(
    particles: Path,
    *,
    output: Output,
    mask: str | None = None,
    seed: int = 0,
    options: Annotated[ReadingConfig, Parameter(name="*")] = READING_DEFAULTS,
) -> None:
    """Reconstruct a map and half-maps from a particle stack at its recorded poses.

    The halves are the file's own, or random. The map is weighted by their correlation
    (Wiener); the half-maps are not.

    ```
    cryolatent backproject particles.star -o map/ --mask auto
    ```

    Parameters
    ----------
    particles
        RELION's .star, cryoSPARC's .cs, images (.mrcs, .mrc, .txt) with --poses and --ctf, or a
        folder of cryolatent prepare.
    output
        New folder for map.mrc, half1.mrc, half2.mrc and summary.json.
    mask
        MRC file of a mask between 0 and 1, or auto to make one from the map; the half-maps'
        correlation is then corrected for it by random phases.
    seed
        Fixes random halves and random phases.
    """
    from cryolatent.analysis import write_reconstruction
    from cryolatent.cli.progress import bar
    from cryolatent.data import open_particles

    if seed < 0:
        raise InputError("--seed", str(seed), "at least 0", "See --help.")
    stack = open_particles(particles, **options.reading())
    with bar() as stage:
        summary = write_reconstruction(stack, output, mask=mask, seed=seed, stage=stage)
    behind = "" if mask is None else ", corrected for the mask"
    print(f"{sum(summary.particles)} particles, {summary.images_per_second:.0f} images per second")
    print(f"resolution {summary.resolution_angstrom:.2f} Å (FSC 0.143{behind})")
    print(f"wrote {', '.join(str(path) for path in sorted(output.iterdir()))}")

"""The commands: ``python -m benchmarks.peers --help``."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.peers import cryodrgn, relion
from benchmarks.peers.cryodrgn import Installation, Training

app = App(
    name="python -m benchmarks.peers",
    help="Run other programs on a folder that `cryolatent simulate` wrote; measure and score them.",
)
RESULTS = Path(__file__).parents[1] / "results"
PEERS = Path(__file__).parents[1] / ".peers"
Environment = Annotated[Path, Parameter(name="--peers")]
TRAINING = Training()


@app.command
def class3d(
    cell: str,
    data: Path,
    out: Path,
    *,
    classes: int = 4,
    seed: int = 1,
    sigma_degrees: float | None = None,
    iterations: int = relion.ITERATIONS,
    results: Path = RESULTS,
) -> None:
    """Classify with RELION and score the classes.

    Parameters
    ----------
    cell
        Name of the data set in the records.
    data
        Simulated folder.
    out
        New folder for what RELION writes.
    classes
        Number of classes.
    seed
        RELION's random seed.
    sigma_degrees
        Search about the recorded poses with angles of this standard deviation; poses are fixed if
        left out.
    iterations
        How many.
    results
        Folder of the records.
    """
    relion.class3d(
        data, out, classes=classes, seed=seed, sigma_degrees=sigma_degrees, iterations=iterations
    )
    record = relion.class3d_record(
        cell, data, out, classes=classes, sigma_degrees=sigma_degrees, iterations=iterations
    )
    print(record.write(results))


@app.command
def train(
    cell: str,
    data: Path,
    out: Path,
    *,
    training: Annotated[Training, Parameter(name="*")] = TRAINING,
    peers: Environment = PEERS,
    results: Path = RESULTS,
) -> None:
    """Train cryoDRGN and score it.

    Parameters
    ----------
    cell
        Name of the data set in the records.
    data
        Simulated folder.
    out
        New folder for what cryoDRGN writes.
    training
        Settings.
    peers
        Folder of the peers' environments.
    results
        Folder of the records.
    """
    installed = Installation(peers / "cryodrgn")
    cryodrgn.train(installed, data, out, training, threads=1)
    print(cryodrgn.training_record(installed, cell, data, out, training).write(results))


@app.command
def score(
    cell: str,
    data: Path,
    out: Path,
    *,
    training: Annotated[Training, Parameter(name="*")] = TRAINING,
    volumes: bool = True,
    peers: Environment = PEERS,
    results: Path = RESULTS,
) -> None:
    """Score a training of cryoDRGN that has ended, was interrupted or still runs.

    Parameters
    ----------
    cell
        Name of the data set in the records.
    data
        Simulated folder.
    out
        Folder that cryoDRGN writes.
    training
        Its settings.
    volumes
        Decode 100 volumes too, which takes minutes.
    peers
        Folder of the peers' environments.
    results
        Folder of the records.
    """
    installed = Installation(peers / "cryodrgn")
    record = cryodrgn.training_record(installed, cell, data, out, training, volumes=volumes)
    for point in record.curve:
        print(f"{point.step:3d} {point.cpu_seconds:9.1f} s  ARI {point.ari:.3f}")
    print(record.write(results))


@app.command
def speed(
    cell: str,
    data: Path,
    out: Path,
    *,
    images: int = 500,
    training: Annotated[Training, Parameter(name="*")] = TRAINING,
    peers: Environment = PEERS,
    results: Path = RESULTS,
) -> None:
    """Measure cryoDRGN's images per core second on a few images; give at least two epochs.

    Parameters
    ----------
    cell
        Name of the data set in the records.
    data
        Simulated folder.
    out
        New folder for what cryoDRGN writes.
    images
        Number of images, from the first on.
    training
        Settings.
    peers
        Folder of the peers' environments.
    results
        Folder of the records.
    """
    installed = Installation(peers / "cryodrgn")
    few = cryodrgn.head(data, out / "data", images)
    usage = cryodrgn.train(installed, few, out / "training", training, threads=1)
    print(cryodrgn.speed_record(installed, cell, images, usage, training).write(results))


@app.command
def backproject(
    cell: str, data: Path, out: Path, *, peers: Environment = PEERS, results: Path = RESULTS
) -> None:
    """Reconstruct with cryoDRGN's voxel backprojection and measure it.

    Parameters
    ----------
    cell
        Name of the data set in the records.
    data
        Simulated folder.
    out
        New folder for what cryoDRGN writes.
    peers
        Folder of the peers' environments.
    results
        Folder of the records.
    """
    installed = Installation(peers / "cryodrgn")
    print(cryodrgn.backproject_record(installed, cell, data, out, threads=1).write(results))


if __name__ == "__main__":
    app()

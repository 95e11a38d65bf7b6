"""Every particle looked at before anything is written: images, poses, transfer functions, rows."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from cryolatent.data.stack import ROTATION_TOLERANCE
from cryolatent.physics import rotation_defect
from cryolatent.prepare.normalise import normalise
from cryolatent.prepare.opening import Opened
from cryolatent.prepare.resample import Frame, resample
from cryolatent.prepare.work import chunks, over_threads
from cryolatent.progress import Advance, unwatched

SPREAD_FACTOR = 3.0  # standard deviation against the median's
SPREADS = 8.0  # and this many robust standard deviations of its logarithm
DEFOCUS_ANGSTROM = (300.0, 100_000.0)
ASTIGMATISM_ANGSTROM = 20_000.0
FEWEST = 16
FLAT_BACKGROUND = (
    "a background without noise",
    "pixels beyond the particle's radius that vary, or no normalisation",
)


@dataclass(frozen=True)
class ParticleFinding:
    """Something about a particle that cannot be right, or that should be known.

    Args:
        particle: Name of the particle.
        row: Its row in the particle file, counted from zero.
        check: What was looked at.
        found: What is there.
        expected: What should be.
        bad: Whether the particle should not be used; a remark otherwise.
    """

    particle: str
    row: int
    check: str
    found: str
    expected: str
    bad: bool = True


@dataclass(frozen=True)
class Moments:
    """What one pass over the images says of each.

    Args:
        finite: Whether all pixels are.
        spread: Standard deviation of the pixels; 0 if all are equal.
        flat: Whether the background has no noise to normalise by.
    """

    finite: Bool[np.ndarray, " n"]
    spread: Float[np.ndarray, " n"]
    flat: Bool[np.ndarray, " n"]


QUIET = 1e-2
"""Variation of an image's first row, over that of its middle row, below which it is looked at."""


@dataclass(frozen=True)
class Background:
    """What images are normalised by, once they are brought to their frame.

    Args:
        frame: Box and pixel size that images are brought to.
        radius_pixels: Radius there beyond which is background.
    """

    frame: Frame
    radius_pixels: float

    def varies(self, images: Float[np.ndarray, "n y x"], frame: Frame) -> Bool[np.ndarray, " n"]:
        """Whether the backgrounds of images vary; the images are left as they are.

        Args:
            images: Images as they are.
            frame: Their box and pixel size.

        Returns:
            One entry per image.
        """
        varies = np.ones(len(images), dtype=bool)
        with np.errstate(invalid="ignore", over="ignore"):
            # the first row is all background: where it varies, nothing needs to be brought
            edge, middle = (images[:, row].std(axis=1) for row in (0, frame.box // 2))
            quiet = np.flatnonzero(edge <= QUIET * middle)
            if len(quiet):
                brought = resample(images[quiet], frame.pixel_size_angstrom, self.frame)
                varies[quiet] = normalise(brought, self.radius_pixels)
        return varies


def measure(
    opened: Opened,
    workers: int,
    progress: Advance = unwatched,
    background: Background | None = None,
) -> Moments:
    """Read every image once.

    Args:
        opened: The particles.
        workers: Number of threads.
        progress: Called with the number of images read.
        background: What images will be normalised by; None if they will not be.

    Returns:
        One entry per particle.
    """
    finite, spread = np.zeros(len(opened), dtype=bool), np.zeros(len(opened))
    flat = np.zeros(len(opened), dtype=bool)
    done = 0
    for number, part in enumerate(opened.parts):
        rows = np.flatnonzero(opened.part == number)
        places = opened.position[rows]

        def look(chunk: range, places=places, part=part) -> tuple[np.ndarray, ...]:
            images = part.images.read(places[chunk.start : chunk.stop])
            varies = np.ones(len(images), dtype=bool)
            if background is not None:
                varies = background.varies(images, part.frame)
            return *image_moments(images), ~varies

        for chunk, found in over_threads(look, chunks(len(rows), part.frame.box), workers):
            here = rows[chunk.start : chunk.stop]
            finite[here], spread[here], flat[here] = found
            done += len(here)
            progress(done)
    return Moments(finite, spread, flat)


def image_moments(images: Float[np.ndarray, "n y x"]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image is finite, and its standard deviation.

    Args:
        images: Images, which are overwritten.

    Returns:
        Two arrays of one entry per image.
    """
    flat = images.reshape(len(images), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = flat.mean(axis=1)
        flat -= mean[:, None]
        spread = np.sqrt(np.einsum("ij,ij->i", flat, flat) / flat.shape[1]).astype(float)
    finite = np.isfinite(mean)
    huge = ~np.isfinite(spread)
    # rounding of the mean leaves a trace in images whose pixels are all equal
    doubtful = np.flatnonzero(finite & (huge | (spread <= 1e-5 * np.abs(mean))))
    spread[huge] = np.finfo(np.float32).max
    equal = flat[doubtful].min(axis=1) == flat[doubtful].max(axis=1)
    spread[doubtful[equal]] = 0
    return finite, spread


def find_all(opened: Opened, moments: Moments) -> list[ParticleFinding]:
    """All that is wrong with the particles, in the order of their rows.

    Args:
        opened: The particles.
        moments: What `measure` found of their images.

    Returns:
        Findings; a particle may have several.
    """
    found = [
        *image_findings(opened, moments),
        *pose_findings(opened),
        *defocus_findings(opened),
        *repeat_findings(opened),
    ]
    return sorted(found, key=lambda finding: finding.row)


def image_findings(opened: Opened, moments: Moments) -> list[ParticleFinding]:
    """Images that are not finite, constant, or scaled unlike the others of their kind.

    Args:
        opened: The particles.
        moments: What `measure` found of their images.

    Returns:
        Findings.
    """
    spread, finite = moments.spread, moments.finite
    constant = finite & (spread == 0)
    broken = {
        "finite pixels": (~finite, "pixels that are not finite"),
        "varying pixels": (constant, "an image in which all pixels are equal"),
    }
    found = [
        _finding(opened, at, check, what, "a finite, varying image")
        for check, (bad, what) in broken.items()
        for at in np.flatnonzero(bad).tolist()
    ]
    found += [
        _finding(opened, at, "flat background", *FLAT_BACKGROUND)
        for at in np.flatnonzero(moments.flat & finite & ~constant).tolist()
    ]
    for number in range(len(opened.parts)):
        rows = np.flatnonzero((opened.part == number) & finite & ~constant)
        if len(rows) < FEWEST:
            continue
        level = np.log(spread[rows])
        middle = np.median(level)
        robust = 1.4826 * np.median(np.abs(level - middle))
        limit = max(np.log(SPREAD_FACTOR), SPREADS * robust)
        usual = f"about {np.exp(middle):.3g}, {np.exp(middle - limit):.3g} at least "
        usual += f"and {np.exp(middle + limit):.3g} at most"
        for at in rows[np.abs(level - middle) > limit].tolist():
            what = f"a standard deviation of {spread[at]:.3g}"
            found.append(_finding(opened, at, "scale", what, usual))
    return found


def pose_findings(opened: Opened) -> list[ParticleFinding]:
    """Poses that are no rotations, and displacements beyond the image.

    Args:
        opened: The particles.

    Returns:
        Findings.
    """
    defect = rotation_defect(opened.poses.rotations).numpy()
    found = [
        _finding(
            opened,
            at,
            "rotation",
            f"a matrix that is no rotation (defect {defect[at]:.3g})",
            "an orthonormal matrix with determinant +1",
        )
        for at in np.flatnonzero(~(defect < ROTATION_TOLERANCE)).tolist()
    ]
    reach = opened.poses.shifts_angstrom.abs().amax(dim=-1).numpy()
    half = opened.side_angstrom / 2
    return found + [
        _finding(
            opened,
            at,
            "shift",
            f"a particle {reach[at]:.1f} Å from the centre",
            f"less than half the box, {half[at]:.1f} Å",
        )
        for at in np.flatnonzero(~(reach < half)).tolist()
    ]


def defocus_findings(opened: Opened) -> list[ParticleFinding]:
    """Defoci that no microscope is used at.

    Args:
        opened: The particles.

    Returns:
        Findings.
    """
    u, v = (getattr(opened.ctf, f"defocus_{axis}_angstrom").double().numpy() for axis in ("u", "v"))
    low, high = DEFOCUS_ANGSTROM
    mean = (u + v) / 2
    good = (mean >= low) & (mean <= high) & (np.abs(u - v) <= ASTIGMATISM_ANGSTROM)
    return [
        _finding(
            opened,
            at,
            "defocus",
            f"underfocus of {u[at]:.0f} and {v[at]:.0f} Å",
            f"{low:.0f} to {high:.0f} Å, and an astigmatism of at most "
            f"{ASTIGMATISM_ANGSTROM:.0f} Å",
        )
        for at in np.flatnonzero(~good).tolist()
    ]


def repeat_findings(opened: Opened) -> list[ParticleFinding]:
    """Rows that name an image a second time: in the same pose an error, in another a remark.

    Args:
        opened: The particles.

    Returns:
        Findings; of images in several poses one, with their number.
    """
    poses = opened.poses
    geometry = torch.cat([poses.rotations.flatten(1), poses.shifts_angstrom], dim=1)
    images = zip(opened.names.files.tolist(), opened.names.index.tolist(), strict=True)
    rows: dict[tuple, int] = {}
    known: set[tuple] = set()
    found, others = [], []
    for at, (image, pose) in enumerate(zip(images, geometry.numpy(), strict=True)):
        key = (image, pose.tobytes())
        if key in rows:
            what = f"image and pose of particle row {opened.rows[rows[key]] + 1}"
            found.append(_finding(opened, at, "repeated row", what, "every particle once"))
        elif image in known:
            others.append(at)
        rows.setdefault(key, at)
        known.add(image)
    if others:
        what = f"{len(others)} rows that name an image again in another pose"
        expected = "a file that is symmetry-expanded on purpose"
        found.append(_finding(opened, min(others), "repeated image", what, expected, bad=False))
    return found


def _finding(
    opened: Opened, at: int, check: str, found: str, expected: str, *, bad: bool = True
) -> ParticleFinding:
    row = int(opened.rows[at])
    return ParticleFinding(str(opened.ids[at]), row, check, found, expected, bad)

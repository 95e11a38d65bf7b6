"""Check particles, bring them to one box, normalise them, and pack them into one folder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import torch

import cryolatent
from cryolatent.data.contrast import contrast_evidence, contrast_score
from cryolatent.data.packed import (
    INDEX,
    MANIFEST,
    PackedManifest,
    file_digest,
    index_table,
    open_packed,
    read_manifest,
)
from cryolatent.data.stack import ParticleStack
from cryolatent.data.statistics import StackStatistics, scan
from cryolatent.errors import InputError
from cryolatent.io.files import write_atomically, write_text_atomically
from cryolatent.prepare.checks import Background, ParticleFinding, find_all, measure
from cryolatent.prepare.findings import refuse, write_findings
from cryolatent.prepare.journal import JOURNAL, write_images
from cryolatent.prepare.normalise import NormalisedImages
from cryolatent.prepare.opening import Opened
from cryolatent.prepare.resample import Frame, common_frame
from cryolatent.prepare.work import available_cores, chunks
from cryolatent.progress import Stage, silent

PLAN = "preparing.json"
SAMPLE = 1000
DARK = -8.0  # standard errors at which there is no doubt


@dataclass(frozen=True)
class Packing:
    """How particles are packed.

    Args:
        box: Box wanted; that of the images if left out.
        downsample: The same as a factor that pixels grow by.
        dtype: Type of the packed numbers.
        normalise: ``image``: each by its own background; or ``none``.
        window: Share of half the box within which images stay whole; no window if left out.
        particle_radius: Radius of the particle, in Å; 45 % of the box if left out.
        on_bad: What is done where a particle should not be used.
        contrast_known: Whether the sign of the contrast was given, so that it is not judged.
    """

    box: int | None = None
    downsample: float | None = None
    dtype: Literal["float16", "float32"] = "float32"
    normalise: Literal["image", "none"] = "image"
    window: float | None = None
    particle_radius: float | None = None
    on_bad: Literal["error", "drop"] = "error"
    contrast_known: bool = False


@dataclass(frozen=True)
class Packed:
    """What there is after packing.

    Args:
        folder: The folder.
        manifest: What it says of itself.
        findings: What was found; None where that had been done before.
        fresh: Whether anything was written; False if it had been packed before.
    """

    folder: Path
    manifest: PackedManifest
    findings: tuple[ParticleFinding, ...] | None
    fresh: bool


def pack(
    opened: Opened,
    folder: Path,
    packing: Packing | None = None,
    *,
    invert_contrast: bool = False,
    workers: int | None = None,
    stage: Stage = silent,
    show: Callable[[tuple[ParticleFinding, ...]], None] = lambda findings: None,
) -> Packed:
    """Check every particle, then write the folder; interrupted, the same call continues.

    Args:
        opened: The particles, of any boxes and pixel sizes.
        folder: New folder, or one that this call began or finished before.
        packing: Options.
        invert_contrast: Whether `opened` was asked to negate the images, for the record.
        workers: Threads; all cores if left out.
        stage: Told of the progress.
        show: Told of the findings before they stop the work.

    Returns:
        What there is.

    Raises:
        InputError: If a particle should not be used and is not to be dropped, the folder is taken,
            or an option does not fit the images. Nothing has been written then.
    """
    packing, workers = packing or Packing(), workers or available_cores()
    frame = choose_frame(opened, packing)
    request = {
        "source_sha256": source_digest(opened),
        "options": _lasting(packing) | {"invert_contrast": invert_contrast},
    }
    if (folder / MANIFEST).exists():
        return Packed(folder, _same(folder, request), None, False)
    _check_free(folder, request)
    findings = None
    if (folder / PLAN).exists():
        plan = json.loads((folder / PLAN).read_text())
        kept, score = np.array(plan["kept"]), plan["contrast_score"]
        stack = normalised(opened.select(kept), frame, packing)
    else:
        radius = _radius_pixels(frame, packing)
        background = None if packing.normalise == "none" else Background(frame, radius)
        watch = stage("checking images", len(opened))
        moments = measure(opened, workers, watch, background)
        findings = tuple(find_all(opened, moments))
        show(findings)
        if packing.on_bad == "error":
            refuse(opened.source, findings, len(opened))
        bad = {finding.row for finding in findings if finding.bad}
        kept = np.flatnonzero(~np.isin(opened.rows, list(bad)))
        if len(kept) == 0:
            raise InputError(opened.source, "no particle to keep", "some", "Correct the file.")
        stack = normalised(opened.select(kept), frame, packing)
        score = _check_contrast(stack, packing)
        _begin(folder, stack, packing, findings)
        write_text_atomically(
            folder / PLAN,
            json.dumps(request | {"kept": kept.tolist(), "contrast_score": score}),
        )
    parts = chunks(len(stack.images), max(part.frame.box for part in opened.parts))
    digest = write_images(
        folder,
        stack.images,
        packing.dtype,
        parts,
        workers,
        stage("packing", len(stack.images)),
    )
    manifest = PackedManifest(
        cryolatent_version=cryolatent.__version__,
        source=opened.source.resolve(),
        table_sha256=file_digest(opened.source) if opened.source in opened.tables else "",
        **request,
        particles=len(stack),
        images=None if opened.particles is None else len(stack.images),
        dropped=len(opened) - len(stack.images),
        box=frame.box,
        pixel_size_angstrom=stack.pixel_size_angstrom,
        dtype=packing.dtype,
        contrast_score=score,
        index_sha256=file_digest(folder / INDEX),
        images_sha256=digest,
        chunk_images=len(parts[0]),
    )
    write_text_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    for part in (PLAN, JOURNAL):
        (folder / part).unlink()
    return Packed(folder, manifest, findings, True)


def choose_frame(opened: Opened, packing: Packing) -> Frame:
    """The box and pixel size that particles are brought to.

    Args:
        opened: The particles.
        packing: Options.

    Returns:
        Box and pixel size.

    Raises:
        InputError: If the box cannot be had, or a factor and a box are given.
    """
    frames = [part.frame for part in opened.parts]
    largest = common_frame(frames)
    if packing.downsample is None:
        option, box = "`box`", packing.box
    elif packing.box is not None:
        raise InputError("`downsample`", "`box` beside it", "one of them", "Leave one out.")
    else:
        option, box = "`downsample`", 2 * int(largest.box / packing.downsample / 2)
    try:
        frame = common_frame(frames, box)
    except ValueError as error:
        raise InputError(
            option, f"a box of {box}", str(error), "Images are not enlarged."
        ) from None
    radius = packing.particle_radius
    if radius is not None and radius >= frame.side_angstrom / 2:
        raise InputError(
            "`particle_radius`",
            f"{radius:g} Å",
            f"less than half the box, {frame.side_angstrom / 2:g} Å",
            "Give the radius, not the diameter.",
        )
    if packing.dtype == "float16" and packing.normalise == "none":
        found = "float16 without normalisation"
        raise InputError("`dtype`", found, '`normalise="image"`', "Else numbers may not fit.")
    return frame


def normalised(opened: Opened, frame: Frame, packing: Packing) -> ParticleStack:
    """The particles as they are to be packed.

    Args:
        opened: Particles.
        frame: Box and pixel size.
        packing: Options.

    Returns:
        A stack whose images are resampled and normalised as they are read.

    Raises:
        InputError: If a pose is no rotation.
    """
    stack = opened.stack(frame)
    radius = None if packing.normalise == "none" else _radius_pixels(frame, packing)
    return replace(stack, images=NormalisedImages(frame.box, stack.images, radius, packing.window))


def source_digest(opened: Opened) -> str:
    """Hash the particle file, the files that complete it, and its stacks' sizes and headers.

    Args:
        opened: The particles.

    Returns:
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for table in opened.tables:
        digest.update(table.read_bytes())
    for part in opened.parts:
        digest.update(part.images.fingerprint())
    return digest.hexdigest()


def _radius_pixels(frame: Frame, packing: Packing) -> float:
    if packing.particle_radius is None:
        return 0.45 * frame.box
    return packing.particle_radius / frame.pixel_size_angstrom


def _lasting(packing: Packing) -> dict[str, Any]:
    """The options that decide the content."""
    options = asdict(packing)
    del options["contrast_known"]
    return options


def _same(folder: Path, request: dict[str, Any]) -> PackedManifest:
    manifest = read_manifest(folder)
    if {name: getattr(manifest, name) for name in request} == request:
        try:
            open_packed(folder)
        except InputError as error:
            way_out = f"Remove the folder {folder}, then give this command again."
            raise InputError(folder, error.found, error.expected, way_out) from None
        return manifest
    changed = _differences(manifest.options, request["options"]) or "of another or changed input"
    raise InputError(
        folder, f"packed particles, {changed}", "a new folder", "Choose another, or remove it."
    )


def _differences(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    names = [name for name in wanted if there.get(name) != wanted[name]]
    return ", ".join(f"{name} {there.get(name)} in place of {wanted[name]}" for name in names)


def _check_free(folder: Path, request: dict[str, Any]) -> None:
    # a call that was stopped before its plan leaves no more than these
    own = {INDEX, "findings.json", "findings.parquet", "statistics.json"}
    unfinished = tuple(f".{name}." for name in (*own, PLAN))
    there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    there = {name for name in there - own if not name.startswith(unfinished)}
    if not folder.exists() or (folder.is_dir() and not there):
        return
    found = "other files" if folder.is_dir() else "a file"
    if (folder / PLAN).exists():
        plan = json.loads((folder / PLAN).read_text())
        if {name: plan[name] for name in request} == request:
            return
        changed = _differences(plan["options"], request["options"]) or "of another or changed input"
        found = f"an unfinished packing, {changed}"
    raise InputError(folder, found, "a new or empty folder", "Choose another, or remove it.")


def _check_contrast(stack: ParticleStack, packing: Packing) -> float | None:
    score = contrast_score(stack)
    if score is not None and score < DARK and not packing.contrast_known:
        raise InputError(
            stack.source,
            f"dark particles ({contrast_evidence(score)})",
            "bright ones, once phases are flipped",
            "Add `invert_contrast=True`; or `invert_contrast=False` if you know better.",
        )
    return score


def _begin(
    folder: Path, stack: ParticleStack, packing: Packing, findings: tuple[ParticleFinding, ...]
) -> None:
    """Write what is known before the images are packed; the plan, which comes last, vouches."""
    frame = Frame(stack.disc.box, stack.pixel_size_angstrom)
    picked = torch.linspace(0, len(stack) - 1, min(len(stack), SAMPLE)).long()
    sample = stack.select(picked)
    statistics = scan(sample, _radius_pixels(frame, packing)).statistics
    folder.mkdir(parents=True, exist_ok=True)
    write_findings(folder, findings)
    index = index_table(stack)
    write_atomically(folder / INDEX, lambda partial: pq.write_table(index, partial))
    write_text_atomically(
        folder / "statistics.json", _statistics_text(statistics, len(sample.images))
    )


def _statistics_text(statistics: StackStatistics, images: int) -> str:
    spectra = {name: values.tolist() for name, values in vars(statistics).items()}
    return json.dumps({"images": images} | spectra, indent=1) + "\n"

"""Results of linear methods, written as their programs are known to write them."""

import json
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryolatent.data import ParticleStack
from cryolatent.io import read_star, write_volume

PIXEL = 18.0


def write_job(project: Path, stack: ParticleStack, z: np.ndarray, volumes: np.ndarray) -> Path:
    """A 3D Variability job ``J42``: particles in another order, passthrough in a third."""
    job, rng = project / "J42", np.random.default_rng(7)
    job.mkdir(parents=True)
    frame = read_star(stack.source).particles
    optics = read_star(stack.source).optics
    assert optics is not None
    count, wide = len(z), optics.iloc[0]
    angles = frame[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)
    names = frame["rlnImageName"].str.split("@")
    passed = {
        "uid": rng.permutation(10**6)[:count].astype("<u8"),
        "blob/path": np.array([f">J1/{name}" for name in names.str[1]], dtype="S"),
        "blob/idx": names.str[0].astype(int).to_numpy(np.uint32) - 1,
        "blob/psize_A": np.full(count, PIXEL, np.float32),
        "blob/sign": np.ones(count, np.float32),
        "ctf/accel_kv": np.full(count, float(wide["rlnVoltage"])),
        "ctf/cs_mm": np.full(count, float(wide["rlnSphericalAberration"])),
        "ctf/amp_contrast": np.full(count, float(wide["rlnAmplitudeContrast"])),
        "ctf/df1_A": frame["rlnDefocusU"].to_numpy(float),
        "ctf/df2_A": frame["rlnDefocusV"].to_numpy(float),
        "ctf/df_angle_rad": np.deg2rad(frame["rlnDefocusAngle"].to_numpy(float)),
        "ctf/phase_shift_rad": np.zeros(count),
        "alignments3D/pose": Rotation.from_euler("ZYZ", angles, degrees=True).as_rotvec(),
        "alignments3D/shift": frame[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(float) / PIXEL,
    }
    found = {"uid": passed["uid"]}
    for mode, column in enumerate(z.T):
        found[f"components_mode_{mode}/component"] = np.full(count, mode, np.uint32)
        found[f"components_mode_{mode}/value"] = column.astype(np.float32)
    for name, fields in (("J42_particles.cs", found), ("J42_passthrough_particles.cs", passed)):
        save_records(job / name, fields, rng.permutation(count))
    (project / "J1").symlink_to(stack.source.parent)
    write_volume(job / "J42_map.mrc", volumes[0], PIXEL)
    write_volume(job / "J42_mask.mrc", np.ones_like(volumes[0]), PIXEL)
    for mode, voxels in enumerate(volumes[1:]):
        write_volume(job / f"J42_component_{mode}.mrc", voxels, PIXEL)
    return job


def save_records(path: Path, fields: dict[str, np.ndarray], order: np.ndarray) -> None:
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    records = np.zeros(len(order), kinds)
    for name, values in fields.items():
        records[name] = values[order]
    with path.open("wb") as stream:
        np.save(stream, records)


def write_results(
    folder: Path, z: np.ndarray, volumes: np.ndarray, *, pixel: float = PIXEL, old: bool = False
) -> Path:
    """A folder of RECOVAR, of version 0.4 (``old``) or 0.7 of its parameters."""
    model, maps = folder / "model", folder / "output" / "volumes"
    model.mkdir(parents=True)
    maps.mkdir(parents=True)
    settings = {"version": "0.4" if old else "0.7", "input_args": Namespace(zdim=[2, z.shape[1]])}
    (model / "params.pkl").write_bytes(pickle.dumps(settings))
    by_size = {size: z[:, :size] for size in (2, z.shape[1])}
    if old:
        kept = {size: values.astype(float) for size, values in by_size.items()}
        kept |= {f"{size}_noreg": values * 2.0 for size, values in by_size.items()}
        content = {"zs": kept, "cov_zs": {}, "contrasts": {2: np.ones(len(z))}, "zs_cont": {}}
        (model / "embeddings.pkl").write_bytes(pickle.dumps(content))
    else:
        about = {"recovar_version": "0.9", "original_particles_file": "/there/particles.star"}
        (model / "metadata.json").write_text(json.dumps(about))
        for size, values in by_size.items():
            (model / f"zdim_{size}").mkdir()
            np.save(model / f"zdim_{size}" / "latent_coords.npy", values)
    write_volume(maps / "mean.mrc", volumes[0], pixel)
    write_volume(maps / "mean_filt.mrc", 0 * volumes[0], pixel)
    for number, voxels in enumerate(volumes[1:]):
        write_volume(maps / f"eigen_pos{number:04d}.mrc", voxels, pixel)
    return folder


def linear_truth(states: np.ndarray, volumes: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of each particle, and mean and principal volumes, that give the true volumes."""
    flat = volumes.double().numpy().reshape(len(volumes), -1)
    mean = flat.mean(axis=0)
    left, scale, right = np.linalg.svd(flat - mean, full_matrices=False)
    parts = np.vstack([mean, right[:3]]).reshape(4, *volumes.shape[1:])
    return (left * scale)[states, :3].astype(np.float32), parts.astype(np.float32)

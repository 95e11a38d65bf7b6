"""cryoSPARC's files opened as stacks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryolatent.data import Tables, open_particles, open_star
from cryolatent.errors import InputError

NUMBERS = {
    "blob/idx": "<u4",
    "blob/psize_A": "<f4",
    "blob/sign": "<f4",
    "blob/shape": ("<u4", (2,)),
    "ctf/exp_group_id": "<u4",
    "ctf/accel_kv": "<f4",
    "ctf/cs_mm": "<f4",
    "ctf/amp_contrast": "<f4",
    "ctf/df1_A": "<f4",
    "ctf/df2_A": "<f4",
    "ctf/df_angle_rad": "<f4",
    "ctf/phase_shift_rad": "<f4",
    "ctf/scale": "<f4",
    "ctf/bfactor": "<f4",
    "ctf/tilt_A": ("<f4", (2,)),
    "ctf/trefoil_A": ("<f4", (2,)),
    "ctf/tetra_A": ("<f4", (4,)),
    "ctf/anisomag": ("<f4", (4,)),
    "alignments3D/pose": ("<f4", (3,)),
    "alignments3D/shift": ("<f4", (2,)),
    "alignments3D/psize_A": "<f4",
    "alignments3D/split": "<u4",
}


def columns(files) -> dict[str, np.ndarray]:
    """The particles of the STAR fixture as cryoSPARC would describe them."""
    table = files.particles.merge(files.optics, on="rlnOpticsGroup")
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    origins = table[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()
    count = len(table)
    return {
        "uid": np.arange(count, dtype="<u8") * 17 + 3,
        "blob/path": np.array([b">J1/images.mrcs"] * count),
        "blob/idx": np.arange(count),
        "blob/psize_A": table["rlnImagePixelSize"].to_numpy(),
        "blob/sign": np.ones(count),
        "ctf/exp_group_id": table["rlnOpticsGroup"].to_numpy(),
        "ctf/accel_kv": table["rlnVoltage"].to_numpy(),
        "ctf/cs_mm": table["rlnSphericalAberration"].to_numpy(),
        "ctf/amp_contrast": table["rlnAmplitudeContrast"].to_numpy(),
        "ctf/df1_A": table["rlnDefocusU"].to_numpy(),
        "ctf/df2_A": table["rlnDefocusV"].to_numpy(),
        "ctf/df_angle_rad": np.deg2rad(table["rlnDefocusAngle"].to_numpy()),
        "ctf/phase_shift_rad": np.zeros(count),
        "ctf/scale": np.ones(count),
        "ctf/bfactor": np.zeros(count),
        "ctf/tilt_A": np.zeros((count, 2)),
        "ctf/trefoil_A": np.zeros((count, 2)),
        "ctf/tetra_A": np.zeros((count, 4)),
        "ctf/anisomag": np.zeros((count, 4)),
        "alignments3D/pose": Rotation.from_euler("ZYZ", angles, degrees=True).as_rotvec(),
        "alignments3D/shift": origins / 5.0,
        "alignments3D/psize_A": np.full(count, 5.0),
        "alignments3D/split": np.array([0, 1, 1, 0]),
    }


def save(path: Path, given: dict[str, np.ndarray]) -> Path:
    kinds = {"uid": "<u8", "blob/path": "S40"} | NUMBERS
    fields = [(name, *np.atleast_1d(np.array(kinds[name], dtype=object))) for name in given]
    records = np.zeros(len(given["uid"]), dtype=fields)
    for name, values in given.items():
        records[name] = values
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        np.save(stream, records)
    return path


@pytest.fixture
def project(files):
    """A project: images in J1, and particles of job J2."""
    files.write()
    (files.folder / "J1").mkdir()
    (files.folder / "images.mrcs").rename(files.folder / "J1" / "images.mrcs")
    (files.folder / "images.mrcs").symlink_to(files.folder / "J1" / "images.mrcs")
    return files


def test_particles_are_those_of_the_star_file(project):
    star = open_star(project.star)
    stack = open_particles(save(project.folder / "J2" / "particles.cs", columns(project)))
    torch.testing.assert_close(stack.poses.rotations, star.poses.rotations, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        stack.poses.shifts_angstrom, star.poses.shifts_angstrom, rtol=0, atol=1e-5
    )
    for name, expected in vars(star.ctf).items():
        if expected is not None:
            torch.testing.assert_close(getattr(stack.ctf, name), expected, rtol=1e-6, atol=1e-5)
    rows = np.arange(4)
    np.testing.assert_array_equal(stack.images.read(rows), star.images.read(rows))
    assert stack.half_set.tolist() == [1, 2, 2, 1]
    assert stack.ids.tolist()[:2] == ["000001@J1/images.mrcs", "000002@J1/images.mrcs"]
    assert stack.datadir is None


def test_dark_particles_are_inverted_one_by_one(project):
    given = columns(project) | {"blob/sign": np.array([1, -1, -1, 1])}
    path, rows = save(project.folder / "J2" / "particles.cs", given), np.arange(4)
    plain = project.stacks["images.mrcs"] * np.array([1, -1, -1, 1])[:, None, None]
    np.testing.assert_array_equal(open_particles(path).images.read(rows), plain)
    inverted = open_particles(path, invert_contrast=True)
    np.testing.assert_array_equal(inverted.images.read(rows), -plain)


def test_phase_shifts_are_radians(project):
    given = columns(project) | {"ctf/phase_shift_rad": np.array([0, 0.5, 1.0, np.pi / 2])}
    stack = open_particles(save(project.folder / "J2" / "particles.cs", given))
    found = stack.ctf.phase_shift_degrees.tolist()
    assert found == pytest.approx([0, 28.64789, 57.29578, 90], abs=1e-4)


def split(project, fields: str, order: list[int]) -> tuple[Path, Path]:
    """Two files: some fields apart, in another order."""
    given, job = columns(project), project.folder / "J2"
    apart = {k: v[order] for k, v in given.items() if k == "uid" or k.startswith(fields)}
    here = {k: v for k, v in given.items() if not k.startswith(fields)}
    return (
        save(job / "J2_particles.cs", here),
        save(job / "J2_passthrough_particles.cs", apart),
    )


@pytest.mark.parametrize("fields", ["ctf/", "alignments3D/", "blob/"])
def test_passthrough_file_beside_is_joined_by_uid(project, fields):
    whole = open_particles(save(project.folder / "J3" / "particles.cs", columns(project)))
    path, passthrough = split(project, fields, [2, 0, 3, 1])
    stack = open_particles(path)
    assert torch.equal(stack.poses.rotations, whole.poses.rotations)
    assert torch.equal(stack.ctf.defocus_u_angstrom, whole.ctf.defocus_u_angstrom)
    np.testing.assert_array_equal(stack.images.read(np.arange(4)), whole.images.read(np.arange(4)))
    assert stack.tables == (path, passthrough)
    elsewhere = project.folder / "elsewhere.cs"
    passthrough.rename(elsewhere)
    with pytest.raises(InputError, match=f"no field {fields}"):
        open_particles(path)
    given = open_particles(path, tables=Tables(passthrough=elsewhere))
    assert torch.equal(given.ctf.defocus_v_angstrom, whole.ctf.defocus_v_angstrom)


def test_passthrough_file_must_hold_every_particle(project):
    path, passthrough = split(project, "ctf/", [2, 0])
    with pytest.raises(InputError, match=r"J2_particles\.cs: found no field ctf/"):
        open_particles(path)
    with pytest.raises(InputError, match=r"no particle with uid 20 \(2 of 4 are missing\)"):
        open_particles(path, tables=Tables(passthrough=passthrough))


REFUSED = ["ctf/bfactor", "ctf/tilt_A", "ctf/trefoil_A", "ctf/tetra_A", "ctf/anisomag", "ctf/scale"]


@pytest.mark.parametrize("field", REFUSED)
def test_optics_that_are_not_modelled_are_refused_by_name(project, field):
    given = columns(project)
    given[field] = given[field] + 0.0
    given[field][2] += 0.3
    way_out = "rlnMagMat00" if field == "ctf/anisomag" else "`ctf`"
    with pytest.raises(InputError, match=f"particle row 3: found {field} = .*{way_out}"):
        open_particles(save(project.folder / "J2" / "particles.cs", given))


def test_ctf_replaces_optics_but_not_a_distortion(project, tmp_path):
    row = [8, 2.5, 15000, 14000, 0, 300, 2.7, 0.1, 0]
    np.array([row] * 4).dump(tmp_path / "ctf.pkl")
    tables = Tables(ctf=tmp_path / "ctf.pkl")
    given = columns(project)
    given["ctf/tilt_A"] = given["ctf/tilt_A"] + 0.3
    path = project.folder / "J2" / "particles.cs"
    assert len(open_particles(save(path, given), tables=tables)) == 4
    given["ctf/anisomag"] = given["ctf/anisomag"] + 0.3
    with pytest.raises(InputError, match="particle row 1: found ctf/anisomag = "):
        open_particles(save(path, given), tables=tables)


def test_shape_that_is_not_the_stacks_is_refused(project):
    path = project.folder / "J2" / "particles.cs"
    given = columns(project) | {"blob/shape": np.full((4, 2), 8)}
    assert len(open_particles(save(path, given))) == 4
    given["blob/shape"][1] = 16
    with pytest.raises(InputError, match=r"particle row 2: found a box of 16 .*expected 8, as in"):
        open_particles(save(path, given))


def without(*prefixes: str):
    return lambda given: {k: v for k, v in given.items() if not k.startswith(prefixes)}


def with_value(field: str, row: int, value: float):
    def change(given):
        values = np.array(given[field], dtype=np.float64)
        values[row] = value
        return given | {field: values}

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (without("alignments3D"), "no field alignments3D/pose"),
        (without("ctf/df1"), "no field ctf/df1_A"),
        (without("blob/path"), "no field blob/path"),
        (with_value("alignments3D/pose", 1, np.nan), "row 2: found alignments3D/pose = "),
        (with_value("ctf/accel_kv", 3, 0.0), "row 4: found ctf/accel_kv = 0"),
        (with_value("ctf/amp_contrast", 0, 1.2), "row 1: found ctf/amp_contrast = 1.2"),
        (with_value("blob/sign", 0, 0.0), "row 1: found blob/sign = 0"),
        (with_value("blob/idx", 2, 4), "row 3: found image 5 of "),
        (with_value("blob/psize_A", 2, 3.0), "exposure group 1, particle row 3"),
    ],
)
def test_what_is_wrong_is_named(project, change, found):
    path = save(project.folder / "J2" / "particles.cs", change(columns(project)))
    with pytest.raises(InputError, match=found):
        open_particles(path)


def test_other_content_is_refused(tmp_path):
    path = tmp_path / "particles.cs"
    for content, found in (
        (b"", "no records"),
        (b"text " * 50, "no records"),
        (b"\x94CSDAT" + bytes(50), "compressed .cs format"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=found):
            open_particles(path)
    with path.open("wb") as stream:
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no records"):
        open_particles(path)
    with pytest.raises(InputError, match="no such file"):
        open_particles(tmp_path / "missing.cs")


def apart(project, name: str, values: float) -> Path:
    """A passthrough file of all particles with another defocus."""
    given = {k: v for k, v in columns(project).items() if k == "uid" or k.startswith("ctf/")}
    return save(project.folder / "J2" / name, given | {"ctf/df1_A": np.full(4, values)})


def bare(project, name: str) -> Path:
    return save(project.folder / "J2" / name, without("ctf/")(columns(project)))


@pytest.mark.parametrize("order", [("J2_", "J1_"), ("J2_", "J3_"), ("P1_J2_", "P1_J20_")])
def test_the_passthrough_file_of_the_same_job_is_read(project, order):
    own, stale = order
    path = bare(project, f"cryosparc_{own}005_particles.cs")
    right = apart(project, f"{own}passthrough_particles.cs", 20_000)
    apart(project, f"{stale}passthrough_particles.cs", 30_000)
    stack = open_particles(path)
    assert stack.ctf.defocus_u_angstrom.tolist() == [20_000] * 4
    assert stack.tables == (path, right)


def test_passthrough_files_that_differ_are_refused_and_one_can_be_named(project):
    path = bare(project, "particles.cs")
    files = [apart(project, f"J{job}_passthrough.cs", 1e4 * job) for job in (1, 2)]
    with pytest.raises(InputError, match=r"ctf/\w+ in J1_passthrough\.cs and another in J2_pass"):
        open_particles(path)
    stack = open_particles(path, tables=Tables(passthrough=files[1]))
    assert stack.ctf.defocus_u_angstrom.tolist() == [20_000] * 4
    apart(project, "J1_passthrough.cs", 20_000)
    assert open_particles(path).ctf.defocus_u_angstrom.tolist() == [20_000] * 4


def test_passthrough_file_beside_the_target_of_a_link(project):
    path = bare(project, "particles.cs")
    apart(project, "J2_passthrough.cs", 20_000)
    (project.folder / "J4").mkdir()
    link = project.folder / "J4" / "linked.cs"
    link.symlink_to(path)
    assert open_particles(link).ctf.defocus_u_angstrom.tolist() == [20_000] * 4


def test_a_large_header_is_read_and_other_classes_poses_are_named(project):
    given = columns(project)
    kinds = {f"alignments_class3D_{k}/{f}": np.zeros(4) for k in range(300) for f in ("pose", "x")}
    fields = [(name, "<f4", (3,) if name.endswith("pose") else ()) for name in kinds]
    for kept in (given, without("alignments3D")(given)):
        path = save(project.folder / "J2" / "particles.cs", kept)
        records = np.load(path)
        wide = np.zeros(4, records.dtype.descr + fields)
        for name in records.dtype.names:
            wide[name] = records[name]
        np.save(path.with_suffix(".npy"), wide)
        path.with_suffix(".npy").rename(path)
        if kept is given:
            assert len(open_particles(path)) == 4
    with pytest.raises(InputError, match=r"3D/pose .*, but alignments_class3D_0/pose"):
        open_particles(path)


def test_shifts_are_in_pixels_of_their_own_size(project):
    given = columns(project)
    halved = given | {"alignments3D/psize_A": np.full(4, 2.5)}
    whole, half = (
        open_particles(save(project.folder / "J2" / f"{name}.cs", fields)).poses.shifts_angstrom
        for name, fields in (("a", given), ("b", halved))
    )
    torch.testing.assert_close(half, whole / 2)
    own = open_particles(save(project.folder / "J2" / "c.cs", without("alignments3D/ps")(given)))
    torch.testing.assert_close(own.poses.shifts_angstrom, whole / 2)

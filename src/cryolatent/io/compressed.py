"""Files that a program has compressed, told by how they begin."""

from pathlib import Path

from cryolatent.errors import InputError

BEGINNINGS = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"PK\x03\x04": ("zip", "unzip"),
}


def refuse_compressed(path: str | Path, expected: str) -> None:
    """Make sure that a file is not compressed.

    Args:
        path: The file; nothing is said of one that cannot be opened.
        expected: What it should be.

    Raises:
        InputError: If it is, naming what unpacks it.
    """
    try:
        with Path(path).open("rb") as stream:
            begins = stream.read(8)
    except OSError:
        return
    for beginning, (program, unpacker) in BEGINNINGS.items():
        if begins.startswith(beginning):
            way_out = f"Unpack it with {unpacker} and give the unpacked file."
            raise InputError(path, f"a file compressed by {program}", expected, way_out)

"""The particle files that tests write."""

from particle_files import files

__all__ = ["files"]

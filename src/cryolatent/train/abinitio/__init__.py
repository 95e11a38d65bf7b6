"""Volumes and poses from images of which no pose is known."""

"""Particles checked, brought to one box and packed into one folder, and read from there."""

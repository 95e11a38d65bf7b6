"""Particles checked, brought to one box, normalised and packed into one folder."""

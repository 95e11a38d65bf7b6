"""Experiments as declared presets. Import from its modules; this one stays light."""

"""The only door to a run directory. Import from its modules; this one stays light."""

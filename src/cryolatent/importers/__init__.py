"""Finished runs of other programs, made run directories. Import from its modules."""

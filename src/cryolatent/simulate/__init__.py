"""Ground-truth stacks: molecules, optics, noise. Import from its modules; this one stays light."""

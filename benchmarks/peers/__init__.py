"""Runs other reconstruction programs on simulated stacks, measures and scores them."""

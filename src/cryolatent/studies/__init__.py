"""(room in construction)."""

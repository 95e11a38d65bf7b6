"""A local page on finished runs: map, selection, volumes, export; its server, and the page."""

"""The experiments of the technical report YALEU/TR-1565, each a declared preset."""

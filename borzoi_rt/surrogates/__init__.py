"""Surrogates: simple models of what a network makes of the mutants of a region, and how far to believe them."""

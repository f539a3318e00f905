"""Explanation by examples: what is alike to a network, and which training windows made it say what it says."""

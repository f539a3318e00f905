"""How good attributions are: do they say what the model does (faithful), and would they be said again (stable)."""

"""How well a model predicts held-out coverage: the training loss and correlations, in float64."""

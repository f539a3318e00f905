"""Training of Borzoi-family networks: data in, checkpoint out, on Lightning.

``options.py`` what a params.json says about training; ``losses.py`` and ``metrics.py`` the objective and streaming
correlations; ``network.py`` a trunk with one head per data set; ``loader.py`` batches whose order follows from
the seed alone; ``module.py`` the step; ``callbacks.py`` logs, checkpoints, early stopping; ``adapters.py`` fine-tuning;
``sets.py`` and ``run.py`` the whole run. ``steps.py``, ``batches.py`` and ``session.py`` hold what does not depend on
the network, ``penalties.py`` is plain torch: the promoter networks use them too.
"""

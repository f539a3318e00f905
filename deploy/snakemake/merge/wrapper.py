"""Snakemake wrapper of ``borzoi-rt merge``: the table of all its shards."""

from snakemake.shell import shell

log = snakemake.log_fmt_shell(stdout=False, stderr=True)  # noqa: F821

shell("borzoi-rt merge {snakemake.input.shards:q} --out {snakemake.output[0]:q} {log}")

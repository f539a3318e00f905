"""Snakemake wrapper of ``borzoi-rt score``: a table, or one shard of it where the output is a shard's folder."""

import re
from pathlib import Path

from snakemake.shell import shell

log = snakemake.log_fmt_shell(stdout=False, stderr=True)  # noqa: F821
extra = snakemake.params.get("extra", "")  # noqa: F821
out = Path(snakemake.output[0])  # noqa: F821

shard = ""
found = re.fullmatch(r"(.+)\.shard-(\d+)-of-(\d+)", out.name)
if found:
    out, shard = out.with_name(found[1]), f"--shard {found[2]}/{found[3]}"
genes = f"--genes {snakemake.input.genes:q}" if snakemake.input.get("genes") else ""  # noqa: F821

shell(
    "borzoi-rt score {snakemake.input.vcf:q} --bundle {snakemake.input.bundle:q} --fasta {snakemake.input.fasta:q} "
    "--out {out:q} --threads {snakemake.threads} {shard} " + genes + " {extra} {log}"
)

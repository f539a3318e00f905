"""One example or two for each command; they end its help, and a test holds them to the options that exist."""

from __future__ import annotations

FIRST = (
    ("Try it", "borzoi-rt demo --out demo-out"),
    ("Get a model", "borzoi-rt get borzoi-0 --out BUNDLE"),
    ("Score variants", "borzoi-rt score IN.vcf --bundle BUNDLE --fasta GENOME.fa.gz --out scores.tsv"),
)
_MODEL = "--bundle BUNDLE --fasta GENOME.fa.gz"
_DEMO = "--bundle DEMO_BUNDLE --fasta demo-out/genome.fa"  # `demo` prints where its bundle is
EXAMPLES: dict[str, tuple[str, ...]] = {
    "score": (
        f"score IN.vcf {_MODEL} --out scores.tsv",
        f"score --variant chr1:14677:G:A {_MODEL} --stats logSED@span:2000 --tracks gtex --out one.tsv",
        f"score IN.vcf {_MODEL} --genes genes.gtf --gene ACTB --stats logSED@exons --tracks liver --out actb.tsv "
        "--report actb.html",
        f"score --variant synthA:22211:AAGAC:A {_DEMO} --explain --motifs demo-out/motifs.meme --out one.tsv",
    ),
    "ism": (f"ism chr1:620,101-620,104 {_MODEL} --out ism.h5",),
    "explain": (
        f"explain --method occlusion --region chr1:620,001-620,512 --target logSED {_MODEL} --out why.h5",
        f"explain --variant synthA:22211:AAGAC:A --width 64 {_DEMO} --motifs demo-out/motifs.meme --out why.h5 "
        "--report why.html",
    ),
    "explain compare": (
        f"explain compare --methods saliency,ism --region chr1:620,001-620,100 --target logSED {_MODEL} --out compared",
    ),
    "explain evaluate": (
        f"explain evaluate saliency.h5 ism.h5 --against ism.h5 {_MODEL} --out judged",
        f"explain evaluate saliency.h5 --metrics strands,shifts {_MODEL} --out judged",
    ),
    "explain rate": (
        "explain rate saliency.h5 ism.h5 --out rating.html",
        "explain rate --read ada.json max.json --key rating.html.key.json --out rating.json",
    ),
    "cam": (f"cam --gene ACTB --genes genes.gtf --tracks liver {_MODEL} --out cam.tsv --plot cam.png",),
    "attention": (
        f"attention --variant chr1:14677:G:A {_MODEL} --out attention.h5 --plot attention.png",
        f"attention --how relevance --gene ACTB --genes genes.gtf --tracks liver {_MODEL} --out relevance.tsv",
    ),
    "activations": (f"activations --layer tower_3 --units 0-7 --region chr1:620,001-620,512 {_MODEL} --out units.tsv",),
    "embed": (f"embed --bed REGIONS.bed {_MODEL} --out regions.h5", f"embed --vcf IN.vcf {_MODEL} --out alleles.h5"),
    "design": (
        f"design --region chr1:620,001-620,200 --target logSED --tracks liver --edits 12 {_MODEL} --out designed",
    ),
    "filters": (f"filters --layer stem --motifs motifs.meme {_MODEL} --out filters",),
    "dissect": (f"dissect --layer tower_3 --annotations REGIONS.bed {_MODEL} --out dissected",),
    "predict": (
        f"predict REGIONS.bed {_MODEL} --out coverage --tracks gtex",
        f"predict --variant chr1:14677:G:A {_MODEL} --out alleles --tracks gtex",
    ),
    "merge": ("merge scores.tsv.shard-*",),
    "report": (f"report scores.tsv {_MODEL} --out scores.html",),
    "plot": (
        f"plot chr1:14677:G:A {_MODEL} --tracks gtex --out variant.pdf",
        "plot attr.h5 --region chr1:14,651-14,700 --out logo.svg",
    ),
    "neighbours": ("neighbours genes.h5 --out neighbours.tsv",),
    "surrogate": (f"surrogate --region chr1:620,001-620,200 {_MODEL} --motifs motifs.meme --out rules",),
    "tcav": (
        f"tcav --motif core=TATAAAAGNNNNNNNNTCAGTCTT --bed REGIONS.bed --tracks liver {_MODEL} --out tcav.tsv "
        "--plot tcav.png",
    ),
    "bottleneck": (
        f"bottleneck --bed REGIONS.bed --motif tata=TATAAA --concept ctcf=ctcf.bed --tracks liver {_MODEL} "
        "--out bottleneck.tsv",
    ),
    "calibrate": (f"calibrate --variants common.vcf.gz {_MODEL} --stats logSED --out null",),
    "scores": ("scores", "scores --family sad"),
    "bundle verify": ("bundle verify BUNDLE --device cuda:0",),
    "bundle show": ("bundle show BUNDLE --tracks",),
    "models": ("models", "models --json"),
    "get": ("get borzoi-0 --out BUNDLE", "get flashzoi-2 --files weights/flashzoi-2 --out BUNDLE"),
    "export calico": (
        "export calico --weights model0_best.h5 --params params.json --targets targets_human.txt --squash old "
        "--out BUNDLE",
    ),
    "export torch": (
        "export torch --weights johahi/borzoi-replicate-0 --targets targets_human.txt --squash old --out BUNDLE",
    ),
    "export checkpoint": ("export checkpoint --checkpoint RUN/best.ckpt --targets targets.txt --out BUNDLE",),
    "export activations": ("export activations --bundle BUNDLE --out BUNDLE_WITH_ACTIVATIONS",),
    "export gradient": ("export gradient --bundle BUNDLE --out BUNDLE_WITH_GRADIENT",),
    "export randomise": ("export randomise --bundle BUNDLE --down-to decoder --out RANDOM",),
    "train": ("train --params params.json --data DATA --out RUN",),
    "data make": ("data make --targets tracks.txt --fasta GENOME.fa.gz --regions regions.bed --squash new --out DATA",),
    "data show": ("data show DATA",),
    "evaluate": ("evaluate --bundle BUNDLE --data DATA --out evaluation",),
    "influence": (
        "influence --data DATA --window valid:3 --bundle BUNDLE --out influence.tsv",
        f"influence --data DATA --region chr1:620,001-620,512 --target logSED {_MODEL} --out influence.tsv",
    ),
    "dft score": (
        "dft score --bundle BUNDLE --fasta GENOME.fa.gz --bed tss.bed --out dft.tsv",
        f"dft score {_DEMO} --bed demo-out/tss.bed --motifs demo-out/motifs.meme --tracks RNA --out dft.tsv "
        "--curves dft.h5 --report dft.html",
    ),
    "dft demo": ("dft demo --out dft-demo-out",),
    "triton repo": ("triton repo BUNDLE --out models --fasta GENOME.fa.gz",),
    "triton lint": ("triton lint models",),
    "triton serve": ("triton serve models",),
    "triton check": ("triton check grpc://127.0.0.1:8001/borzoi_predict --bundle BUNDLE",),
    "demo": ("demo --out demo-out",),
    "bench latency": (f"bench latency {_MODEL}",),
    "doctor": ("doctor", "doctor --json"),
}


def epilog(path: tuple[str, ...]) -> str | None:
    """Return what ends the help of a command; None where there is no example."""
    lines = EXAMPLES.get(" ".join(path), ())
    return "\n".join(["\b", "Examples:", *(f"  borzoi-rt {line}" for line in lines)]) if lines else None

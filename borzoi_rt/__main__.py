"""``python -m borzoi_rt``: the command line, also where only a module can be named (torchrun)."""

from .cli import run

if __name__ == "__main__":
    run()

"""One process of a training measurement: `train.py`'s arguments, but no checkpoints and no export.

Run by torchrun, or alone: python eval/support/training_worker.py experiment=NAME data.path=DATASET output=DIR …
"""

import sys

import lightning
import torch

from paintsundo.training.command import build
from paintsundo.training.configuration import configure
from paintsundo.training.options import check, read
from paintsundo.training.run import train


def main(arguments: list[str]) -> None:
    config = configure(arguments)
    options = read(config)
    check(options)
    torch.set_float32_matmul_precision("high" if options.runtime.tf32 else "highest")
    lightning.seed_everything(options.seed, verbose=False)
    train(config, options, build(config, options), measure_only=True)


if __name__ == "__main__":
    main(sys.argv[1:])

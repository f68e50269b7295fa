"""Train a model: `python train.py experiment=NAME data.path=DATASET output=DIR [any override]`."""

import sys

from paintsundo.training.command import main

if __name__ == "__main__":
    sys.exit(main())

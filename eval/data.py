"""Measures of the data engine: `python eval/data.py PART output=DIR …`.

Parts, each explained in `eval/support/data_PART.py` with its options:
  svg         last state against a direct rendering, progress, time, by package
  layered     composites against the picture of the program that saved the file
  recordings  canvas, states and operation steps found in rendered screen recordings
  painter     the synthetic painter on a folder of pictures: last state, stage order, time
  loading     states and clips a second out of shards
  throughput  records and megabytes a second into shards, and memory

Each writes `DIR/PART.json` and `DIR/PART.md` and prints its table.
"""

import importlib
from collections.abc import Sequence

from support.arguments import run

from paintsundo.errors import UserError

PARTS = ("svg", "layered", "recordings", "painter", "loading", "throughput")


def main(arguments: Sequence[str]) -> None:
    """One part, named by the first word."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return
    if arguments[0] not in PARTS:
        raise UserError(f"unknown part {arguments[0]}: choose {', '.join(PARTS)}")
    importlib.import_module(f"support.data_{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    raise SystemExit(run(main))

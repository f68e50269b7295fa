"""Compare choices: python eval/ablate.py ablation=NAME data.path=DATASET data.test=TEST_SET output=DIR [name=value …]

NAME is a grid of configs/ablation: tables of rows, each a way in which a stage of a pair of models is trained anew, or
not at all, and in which films are made. Each row is trained (three seeds), its films are measured on true processes,
and all of it becomes one page, ablations.md and ablations.html. Jobs run as a multirun of Hydra: so many at once on
each card of this machine (devices=[0,1] per_device=8), or with any other launcher (hydra/launcher=submitit_slurm …).

The same command again keeps what is finished and goes on; several grids may share an output and so cells and page.
All but the folder `work` is small and may be carried to another machine. rows=[TABLE/ROW] makes one row again and
tells whether its figures lie within the intervals that docs/ablations has. dry_run=true lists what is left with its
cost. configs/ablate.yaml explains every option.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from support.ablate_costs import Costs, plan_text
from support.ablate_options import Ablation, device_names, read_arguments
from support.ablate_page import repeated, write_page
from support.ablate_run import begin, failures, finished_cells, only_one, place_of, run_jobs
from support.arguments import run

from paintsundo.errors import UserError

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "ablations" / "ablations.json"
ALL_FILMS = 64  # guessed where data.limit is null


def main(arguments: Sequence[str]) -> None:
    if {"--help", "-h"} & set(arguments):
        print(__doc__)
        return
    ablation = read_arguments(arguments)
    if ablation.options.page_only:
        _page(ablation)
        return
    if ablation.options.dry_run:
        _run(ablation)
        return
    with only_one(ablation.folder):
        _run(ablation)


def _run(ablation: Ablation) -> None:
    options, grid = ablation.options, ablation.grid
    assert grid is not None
    costs = Costs(options.cost, options.data.limit or ALL_FILMS, ablation.folder)
    jobs = sorted(grid.jobs(finished_cells(ablation.folder), options.chunk), key=costs.job, reverse=True)
    slots = len(device_names(options)) * options.per_device
    print(plan_text(jobs, costs, slots), flush=True)
    if options.dry_run:
        return
    place = place_of(ablation)
    begin(ablation, place)
    if jobs:
        run_jobs(ablation, place, jobs)
    if options.rows and (table := repeated(PUBLISHED, grid, ablation.folder)):
        print(table)
    _page(ablation)
    left = grid.jobs(finished_cells(ablation.folder), options.chunk)
    failed = {name: why for name, why in failures(ablation.folder).items() if name in {job.name for job in left}}
    if failed:
        raise UserError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    if left:
        print(f"{sum(len(job.cells) for job in left)} cells are left: the same command goes on with them")


def _page(ablation: Ablation) -> None:
    folder = Path(ablation.options.page or ablation.folder)
    file, found = write_page(ablation.folder, folder, failures(ablation.folder))
    for finding in found:
        if finding.confirmed is not None:
            print(f"- {finding.text}")
    print(f"written to {file}")


if __name__ == "__main__":
    sys.exit(run(main))

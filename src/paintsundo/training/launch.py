"""Several processes on one machine: the same command again in each, started as torchrun does, one a device."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from paintsundo.command_line import ERROR_FOLDER

# Set by torchrun, Slurm and the like for the processes they start.
_LAUNCHED = ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "SLURM_PROCID")


def is_launched() -> bool:
    """Whether this process is one of several that were started together."""
    return any(name in os.environ for name in _LAUNCHED)


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run `train` with these arguments in so many processes; returns the exit code of the one that failed first.

    What several of them have to say is told once. Interrupted, it ends them and raises KeyboardInterrupt.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ERROR_FOLDER] = folder
        try:
            elastic_launch(config, sys.executable)("-m", "paintsundo.training.command", *arguments)
        except ChildFailedError as error:
            failures = error.failures.values()
            first = min(failures, key=lambda failure: failure.timestamp)
            _tell(Path(folder))
            return first.exitcode if first.exitcode > 0 else 1
        except SignalException:
            raise KeyboardInterrupt from None
        finally:
            os.environ.pop(ERROR_FOLDER, None)
    return 0


def _tell(folder: Path) -> None:
    lines = {file.read_text(encoding="utf-8").strip() for file in sorted(folder.iterdir())}
    for line in sorted(lines):
        print(line, file=sys.stderr)

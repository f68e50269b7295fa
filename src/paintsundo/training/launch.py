"""Several processes on one machine: the same command again through torchrun, one process a device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# Set by torchrun, Slurm and the like for the processes they start.
_LAUNCHED = ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "SLURM_PROCID")


def is_launched() -> bool:
    """Whether this process is one of several that were started together."""
    return any(name in os.environ for name in _LAUNCHED)


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run `train` with these arguments in so many processes; returns the exit code (0, or 1 where one failed).

    Interrupted, it waits for them to end (torchrun passes the signal on) and raises KeyboardInterrupt.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "paintsundo.training.command", *arguments]
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)), **os.environ}
    with subprocess.Popen(command, env=environment) as running:
        try:
            return 0 if running.wait() == 0 else 1
        except KeyboardInterrupt:
            running.wait()
            raise

"""`train.py` in processes that can be killed, started from one that has done the imports already."""

import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["paintsundo.training.command", "paintsundo.training.run", "paintsundo.training.multi_frame", "peft"]
)
KILLED = -signal.SIGKILL


def train(arguments: list[str], log: Path, order: Path | None = None, change: Callable[..., Any] | None = None) -> int:
    """Run `train` with arguments; returns the exit code, KILLED where it was killed.

    Args:
        arguments: of the command.
        log: what it says is added to this file.
        order: a line of JSON per batch is added to this file: its number, a hash of all that is in it, its keys.
        change: a function of a module, called in the new process before the command.
    """
    return train_together(arguments, [log], [order], change)[0]


def train_together(
    arguments: list[str], logs: list[Path], orders: list[Path | None], change: Callable[..., Any] | None = None
) -> list[int]:
    """Run `train` in one process a log, as torchrun would start them; returns their exit codes."""
    world, place = len(logs), {}
    if world > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "TORCHELASTIC_RUN_ID": "test"}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    processes = []
    for rank, (log, order) in enumerate(zip(logs, orders, strict=True)):
        own = {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}
        processes.append(_CONTEXT.Process(target=_run, args=(arguments, log, order, change, own)))
        processes[-1].start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]  # type: ignore[misc]


def kill_now() -> None:
    """SIGKILL this process: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def batches(order: Path) -> list[tuple[int, str]]:
    """Number and hash of the batches trained on, as they came."""
    return [(number, digest) for number, digest, _ in map(json.loads, order.read_text().splitlines())]


def keys(order: Path) -> list[list[str]]:
    """Keys of the samples in each batch, as they came."""
    return [json.loads(line)[2] for line in order.read_text().splitlines()]


def _run(
    arguments: list[str], log: Path, order: Path | None, change: Callable[..., Any] | None, place: dict[str, str]
) -> None:
    os.environ.update(place)
    import torch

    from paintsundo.training import command

    multiprocessing.set_start_method("fork", force=True)  # of the loader's workers, as in a process of its own
    torch.set_num_threads(1)
    log.parent.mkdir(parents=True, exist_ok=True)  # of a run that may be the first of its case
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    if order is not None:
        _record(order)
    if change is not None:
        change()
    code = command.main(arguments)
    sys.stdout.flush()
    sys.exit(code)


def _record(order: Path) -> None:
    from paintsundo.training.callbacks import StepSeed

    start = StepSeed.on_train_batch_start

    def recorded(self: Any, trainer: Any, module: Any, batch: dict[str, Any], index: int) -> None:
        with order.open("a") as stream:
            stream.write(json.dumps([batch["number"], fingerprint(batch), batch.get("keys", [])]) + "\n")
        start(self, trainer, module, batch, index)

    StepSeed.on_train_batch_start = recorded  # type: ignore[method-assign]


def fingerprint(batch: dict[str, Any]) -> str:
    """A hash of everything in a batch."""
    digest = sha256()
    for name, value in sorted(batch.items()):
        content = value.cpu().numpy().tobytes() if hasattr(value, "cpu") else repr(value).encode()
        digest.update(name.encode() + content)
    return digest.hexdigest()

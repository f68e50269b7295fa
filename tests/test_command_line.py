import errno

import pytest
import torch

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("two\nlines"), 2, "error: two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/film.mp4"), 1, "No space left on device: /x/film.mp4"),
        (MemoryError(), 1, "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "runtime.memory=low"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), 1, "not enough memory"),
        (FloatingPointError("values that are not numbers"), 1, "not numbers"),
    ],
)
def test_what_user_or_machine_cause_is_one_line(error, code: int, told: str, capsys) -> None:
    def command() -> int:
        raise error

    assert exit_code(command) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_faults_of_the_program_keep_their_traceback() -> None:
    def command() -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        exit_code(command)


def test_success() -> None:
    assert exit_code(lambda: 0) == 0

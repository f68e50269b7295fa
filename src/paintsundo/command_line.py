"""How every command ends: 0 done, 2 the user can mend it, 130 interrupted, 1 a fault of the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from paintsundo.errors import UserError

# Where one of several processes leaves its line, for the one that started them to tell it once.
ERROR_FOLDER = "PAINTSUNDO_ERROR_FOLDER"


def exit_code(
    command: Callable[[], int],
    interrupted: str = "interrupted; the same command goes on where it stopped",
    memory_advice: str = "runtime.memory=low and smaller sizes need less",
) -> int:
    """Run a command and turn what the user or the machine may cause into one line and an exit code.

    Anything else is a fault of the program and keeps its traceback.
    """
    try:
        return command()
    except UserError as error:
        return _told(str(error), 2)
    except KeyboardInterrupt:
        return _told(interrupted, 130)
    except MemoryError:
        return _told("not enough memory", 1)
    except OSError as error:
        return _told(_of_file(error), 1)
    except FloatingPointError as error:
        return _told(str(error), 1)
    except RuntimeError as error:
        # By name: commands that never compute do not import torch.
        if type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error):
            return _told(f"not enough memory on the device; {memory_advice}", 1)
        raise


def _of_file(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text}: {error.filename}" if error.filename else text


def _told(message: str, code: int) -> int:
    line = " ".join(message.split())
    line = f"error: {line}" if code != 130 else line
    folder = os.environ.get(ERROR_FOLDER)
    if folder is None:
        print(line, file=sys.stderr)
    else:
        Path(folder, str(os.getpid())).write_text(line, encoding="utf-8")
    return code

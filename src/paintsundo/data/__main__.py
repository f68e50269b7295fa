"""`python -m paintsundo.data build|check|show|stats|fetch name=value …`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from paintsundo.errors import UserError

USAGE = """usage: python -m paintsundo.data COMMAND name=value ...
  build source=svg|pictures input=FILE|FOLDER|ARCHIVE output=DATASET
        [size= workers= limit= compositions= crops= sets= splits= seed= overwrite=]
  check input=DATASET                     verify every sample
  show  input=DATASET output=FILE.png     contact sheet of processes [count= states= side= first=]
  stats input=DATASET                     numbers about a data set
  fetch output=FOLDER                     gather openly licensed art as archives [downloads=FOLDER sets=]"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 (something was kept, all is well) or 2, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if words else 2
    from paintsundo.data import commands

    known: dict[str, Callable[[Sequence[str]], int]] = commands.COMMANDS
    try:
        if words[0] not in known:
            raise UserError(f"unknown command {words[0]}; choose one of {', '.join(known)}")
        return known[words[0]](words[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a file that may not be read
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

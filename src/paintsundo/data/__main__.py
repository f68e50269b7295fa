"""`python -m paintsundo.data build|check|repair|split|show|stats|fetch name=value …`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError

USAGE = """usage: python -m paintsundo.data COMMAND name=value ...
  build  source=recording|layered|svg|glyphs|pictures|open input=FILE|FOLDER|ARCHIVE output=DATASET
         [size= canvas= workers= limit= compositions= splits= seed= tagger= near_duplicates= behaviours= ...:
         configs/build.yaml; options of the source as source.NAME=: configs/source/]
         an interrupted build goes on when it is started again [shard=N: only one shard]
  check  data=DATASET                     verify every sample
  repair data=DATASET [input= workers=]   draw damaged shards again, or keep what is sound of them
  split  data=DATASET                     the split by subject
         [output=DATASET validation= test= seed=: write it split anew]
  show   data=DATASET output=FILE         .png: contact sheet [count= states= side= first= split= captions=]
         .mp4: film of process first=, operation step and stages beneath [frames= fps= side=]
         .html: report of the whole data set [count= workers=]; overwrite=true replaces FILE
  stats  data=DATASET                     numbers about a data set [json=true|FILE sampled= workers=]
  fetch  output=FOLDER                    gather openly licensed art as archives [downloads=FOLDER sets=]"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 (something was kept, all is well), 2 (the user can mend it), 1 (a fault of
    the machine) or 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if words else 2
    asks = {"-h", "--help", "help"} & set(words)

    def run() -> int:
        from paintsundo.data import commands

        known: dict[str, Callable[[Sequence[str]], int]] = commands.COMMANDS
        if words[0] not in known:
            raise UserError(f"unknown command {words[0]}; choose one of {', '.join(known)}")
        if asks:
            from paintsundo.data.making.help import help_text

            print(help_text(words) if words[0] == "build" else USAGE)
            return 0
        return known[words[0]](words[1:])

    return exit_code(run, memory_advice="workers=1 and a smaller size need less")


if __name__ == "__main__":
    sys.exit(main())

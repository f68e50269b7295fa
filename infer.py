"""A picture in, the film of its making out: python infer.py input=PICTURE output=DIR [option=value …]"""

import sys

from paintsundo.pipelines.command import main

if __name__ == "__main__":
    sys.exit(main())

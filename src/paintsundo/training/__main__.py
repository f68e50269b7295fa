"""`python -m paintsundo.training …` is `train.py`, wherever the package is."""

import sys

from paintsundo.training.command import main

sys.exit(main())

"""``python -m polyframe`` is the command ``polyframe``."""

import sys

from polyframe.cli import main

sys.exit(main())

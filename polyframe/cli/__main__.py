"""``python -m polyframe.cli`` is the command ``polyframe``."""

import sys

from polyframe.cli import main

sys.exit(main())

"""How every command ends: what goes wrong is a sentence on standard error and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from polyframe.cli import explain_missing
from polyframe.errors import ConfigError, PolyframeError, StrategyDefinitionError


def guarded(name: str, call: Callable[[], int], *, kept: str = "") -> int:
    """Run a command and return its exit code.

    2 is an option that cannot be or a package that is not installed, 1 any other failure of ours or of
    the disk, 130 a Ctrl-C that the command does not handle itself. Mistakes of the program keep their
    traceback.

    Args:
        name: The command's, for the sentence.
        call: The command; imports of optional packages belong into it.
        kept: What to add after Ctrl-C: what is left of the work.
    """
    try:
        return call()
    except ModuleNotFoundError as error:
        return explain_missing(error)
    except KeyboardInterrupt:
        sys.stderr.write(f"polyframe {name}: stopped{kept}\n")
        return 130
    except (ConfigError, StrategyDefinitionError) as error:
        sys.stderr.write(f"polyframe {name}: {error}\n")
        return 2
    except (PolyframeError, OSError) as error:
        cause = "" if error.__cause__ is None else f": {error.__cause__!r}"
        sys.stderr.write(f"polyframe {name}: {error}{cause}\n")
        return 1

"""The command line: ``polyframe``."""

from __future__ import annotations

import sys

_EXTRAS = {"typer": "venue", "click": "venue", "rich": "venue", "starlette": "venue"} | {
    "uvicorn": "venue",
    "pyarrow": "data",
    "resolvedkit": "data",
}


def main() -> int:
    """Run the command line and return its exit code.

    0 is a natural end, 1 a failure, 2 a wrong option or a package that is not installed, 130 and 143
    an end by Ctrl-C and by SIGTERM.
    """
    try:
        # Late, so that a missing package of the extras ends in a sentence and not in a traceback.
        from polyframe.cli.app import run
    except ModuleNotFoundError as error:
        return explain_missing(error)
    except KeyboardInterrupt:
        return 130  # before the command itself watches for it
    return run(sys.argv[1:])


def explain_missing(error: ModuleNotFoundError) -> int:
    """Say how to install the package that is missing, and return the exit code.

    Raises:
        ModuleNotFoundError: It is none of polyframe's optional packages.
    """
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        raise error
    sys.stderr.write(
        f"polyframe: the package {package} is not installed; the command line needs the extras: "
        "pip install '.[venue,data]' in the checkout of polyframe\n"
    )
    return 2

"""`python -m lora_recipes`: the same as the command `lora-recipes`.

The stages of dvc.yaml start here, with whatever `python` is first on the PATH; when that is not
the project's own, the first line says so.
"""

import gc
import sys


def wrong_interpreter(missing=""):
    """The message for a Python that is too old or lacks the project's packages."""
    have = ".".join(map(str, sys.version_info[:2]))
    why = f"it has no package '{missing}'" if missing else "lora-recipes needs 3.11 or newer"
    return (
        f"wrong interpreter: {sys.executable} is Python {have} and {why}\n"
        "  fix:     activate the project's environment first: source .venv/bin/activate"
        " (made by `make setup`), then run the command again"
    )


def main():
    """Check the interpreter, then hand over to the command line."""
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.stderr.write(wrong_interpreter() + "\n")
        return 1
    # A quick command ends before there is garbage worth looking for; a stage switches it on again.
    gc.disable()
    try:
        from lora_recipes.cli import main as run
        from lora_recipes.printable import show_traceback

        sys.excepthook = show_traceback
        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lora_recipes"):
            raise
        sys.stderr.write(wrong_interpreter(error.name) + "\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())

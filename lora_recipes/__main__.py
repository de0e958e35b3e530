"""`python -m lora_recipes`: the same as the command `lora-recipes`.

The stages of dvc.yaml start here, with whatever `python` is first on the PATH; when that is not
the project's own, the first line says so.
"""

import sys


def wrong_interpreter(missing=None):
    """The one line for a Python that is too old or lacks the project's packages."""
    have = "%d.%d" % sys.version_info[:2]  # noqa: UP031 (an old Python must be able to run this)
    why = "it has no package '%s'" % missing if missing else "lora-recipes needs 3.11 or newer"  # noqa: UP031
    return (
        "wrong interpreter: %s is Python %s and %s\n"  # noqa: UP031
        "  fix:     activate the project's environment first: source .venv/bin/activate"
        " (made by `make setup`), then run the command again"
    ) % (sys.executable, have, why)


def main():
    """Check the interpreter, then hand over to the command line."""
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.stderr.write(wrong_interpreter() + "\n")
        return 2
    try:
        from lora_recipes.cli import main as run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lora_recipes"):
            raise
        sys.stderr.write(wrong_interpreter(error.name) + "\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())

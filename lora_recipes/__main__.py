"""`python -m lora_recipes`: the same as the command `lora-recipes`.

The stages of dvc.yaml start here, with whatever `python` is first on the PATH; when that is not
the project's own, the first line says so.
"""

import gc
import sys

NEEDED = frozenset(
    [
        "PIL",
        "accelerate",
        "configobj",
        "diffusers",
        "dvc",
        "filelock",
        "huggingface_hub",
        "jinja2",
        "lightning",
        "numpy",
        "omegaconf",
        "peft",
        "pydantic",
        "rich",
        "ruamel",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
    ]
)
"""What pyproject.toml depends on, as it is imported: a Python without one is the wrong one."""


def wrong_interpreter(missing=""):
    """The message for a Python that is too old or lacks the project's packages."""
    have = ".".join(map(str, sys.version_info[:2]))
    why = f"it has no package '{missing}'" if missing else "lora-recipes needs 3.11 or newer"
    return (
        f"wrong interpreter: {sys.executable} is Python {have} and {why}\n"
        "  fix:     activate the project's environment first: source .venv/bin/activate"
        " (made by `make setup`), then run the command again"
    )


def missing_package(error):
    """What to say of a module that is not there; empty where that is a mistake of ours.

    A part of Python itself or of this package that cannot be found is a bug, whatever the
    environment, and keeps its traceback.
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", "lora_recipes") or package in sys.stdlib_module_names:
        return ""
    if package in NEEDED:
        return wrong_interpreter(error.name)
    return (
        f"the package '{package}' is not installed\n"
        f"  fix:     install it: {sys.executable} -m pip install {package}"
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
    except KeyboardInterrupt:  # before there was a command that could say more
        sys.stderr.write("stopped\n")
        return 130
    except ModuleNotFoundError as error:
        told = missing_package(error)
        if not told:
            raise
        sys.stderr.write(told + "\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""What to type to run this program's commands, as messages name them."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT, MODULE = "lora-recipes", "python -m lora_recipes"


def as_called(words: str = "") -> str:
    """This program with a command, in the form in which it was started: `lora-recipes pin`.

    DVC starts stages as a module. Files that stay name the module too: it is there in every
    environment, and who reads them need not have written them.
    """
    started = SCRIPT if Path(sys.argv[0]).stem == SCRIPT else MODULE
    return f"{started} {words}".rstrip()

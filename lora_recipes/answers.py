"""What the command line answers where there is no such command, and where it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_recipes.command import as_called
from lora_recipes.errors import Problem
from lora_recipes.recipe.near import nearest
from lora_recipes.stopping import Stopped

_PIPELINE = "`dvc repro` runs all stages, training too"
_TRY = "`dvc exp run -S <key>=<value>` tries a value"
_PROJECT = "a project is a clone of this repository: edit its params.yaml, then `dvc repro`"
ELSEWHERE = {
    **dict.fromkeys(("train", "run", "repro", "start", "resume"), _PIPELINE),
    **dict.fromkeys(("exp", "experiment", "tune"), _TRY),
    **dict.fromkeys(("init", "new", "create"), _PROJECT),
}
"""Commands that people look for here, and what does it."""

BACK = "`dvc checkout train`, its figures `git checkout -- out`"


def no_such_command(word: str, names: Sequence[str]) -> Problem:
    """What to type in place of a command that does not exist."""
    near = word if word in ELSEWHERE else nearest(word, [*names, *ELSEWHERE])
    fix = f"did you mean {near}?" if near else f"`{as_called('--help')}` lists the commands"
    return Problem(
        what=f"{as_called(word)}: there is no such command", fix=ELSEWHERE.get(near or "", fix)
    )


def not_printed(error: OSError) -> Problem:
    """Why what was to be printed, into a file perhaps, is not there."""
    return Problem(
        what=f"what is printed cannot be written: {error.strerror}",
        fix="free some space, or print it elsewhere",
    )


def how_it_stopped(stopped: KeyboardInterrupt, stage: str, root: Path) -> str:
    """What was kept of a stage's work, and how to get back what was there before.

    Args:
        stopped: how.
        stage: its name; empty for other commands.
        root: the project's folder.
    """
    if stage != "train":
        return "stopped; `dvc repro` resumes" if stage else "stopped"
    text = "stopped; `dvc repro` resumes from the last checkpoint, if there is one"
    if isinstance(stopped, Stopped) and stopped.steps:
        done = f"step {stopped.done} of {stopped.steps}"
        text = f"stopped after {done}; `dvc repro` resumes from there"
    return f"{text}\n  back to the adapter before: {BACK}" if _was_trained(root) else text


def _was_trained(root: Path) -> bool:
    """Whether DVC knows an adapter; it takes the files away before the stage begins."""
    try:
        return "\n  train:\n" in (root / "dvc.lock").read_text("utf-8")
    except (OSError, ValueError):
        return False

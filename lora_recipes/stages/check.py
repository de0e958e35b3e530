"""What a stage makes sure of before it starts: no litter, base and packages as resolved."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lora_recipes.errors import UserError
from lora_recipes.files import own_folder, remove_temporaries
from lora_recipes.pipeline import RESOLVED, USE_THE_BASE
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.identity import present
from lora_recipes.recipe.kept import unkept
from lora_recipes.recipe.load import resolve
from lora_recipes.recipe.model import SECTIONS
from lora_recipes.recipe.resolved import read_resolved, read_section, read_value
from lora_recipes.recipe.sections.base import Base
from lora_recipes.reporting import Reporter
from lora_recipes.text import first_few
from lora_recipes.tree import flat

WRITTEN_TO = (".", "build", "out", "recipes", "recipes/pins")
OWN_WRITTEN_TO = (".", "encoded/*", "pictures", "runs", "checkpoints/*", "checkpoints/*/snapshots")
"""Where stages and commands write files: in the project, and in `.lora`."""


def before(stage: str, root: Path, report: Reporter) -> None:
    """Clear up, and stop if the base is another one now.

    What differs from requirements.lock, and data that no commit will hold, are told.

    Raises:
        UserError: the base model's files changed since resolve wrote their hash.
    """
    from lora_recipes.provenance.packages import differing

    clear_up(root)
    say_if_nothing_is_kept(own_folder(root), report)
    lock = root / "requirements.lock"
    if lock.is_file():
        for line in differing(lock):
            report.warn(f"{line}: outputs may differ from the locked environment's")
    if stage != "resolve":
        say_if_stale(root, report)
    if stage == "dataset" and (problem := unkept(root, data_folder(root))):
        report.warn(str(problem))
    if stage in USE_THE_BASE:
        check_base(root)


def clear_up(root: Path) -> None:
    """Delete what processes that were killed long ago left half-written."""
    for place, patterns in ((root, WRITTEN_TO), (own_folder(root), OWN_WRITTEN_TO)):
        for pattern in patterns:
            for folder in place.glob(pattern) if "*" in pattern else [place / pattern]:
                remove_temporaries(folder)


def say_if_nothing_is_kept(own: Path, report: Reporter) -> None:
    """Warn if `.lora` cannot be written to: what lies there saves time and decides nothing."""
    try:
        own.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=own):
            pass
    except OSError as error:
        report.warn(
            f"{own}: cannot be written ({error.strerror or error}), so nothing is remembered: "
            "the next run computes again what this one does"
        )


def say_if_stale(root: Path, report: Reporter) -> None:
    """Warn if params.yaml or its recipe was edited since resolved.yaml was written.

    DVC runs resolve first; a stage that is called by hand takes what it finds.
    """
    try:
        recipe, written = resolve(root).recipe, read_resolved(root)
    except UserError:
        return  # whoever reads the one or the other names what is wrong
    now = flat(present({name: getattr(recipe, name) for name in SECTIONS}))
    then = flat({name: written.get(name) for name in SECTIONS})
    keys = [key for key in now | then if now.get(key) != then.get(key)]
    if keys:
        report.warn(
            f"{RESOLVED} is older than params.yaml or its recipe ({first_few(keys, 3)}), and this "
            "stage runs with what stands in it; `dvc repro` writes it anew"
        )


def check_base(root: Path) -> None:
    """Compare the base model's files with `base_identity` of resolved.yaml.

    Untouched files are not read again: their hashes are remembered in `.lora/hashes.json`.

    Raises:
        UserError: they differ, files are missing, or they are not known to be trained right.
    """
    from lora_recipes.base.check import refuse_unknown
    from lora_recipes.base.locate import identity, locate

    base = read_section(root, "base", Base)
    located = locate(base, root)
    refuse_unknown(located)
    found = identity(located, own_folder(root) / "hashes.json")
    resolved = read_value(root, "base_identity")
    if found != resolved:
        raise UserError.of(
            where=RESOLVED,
            what=f"base.model = {base.model}: its files are {found} now, but the recipe was "
            f"resolved with {resolved}",
            fix="if you changed the base on purpose: "
            "`dvc repro --force --single-item resolve`, then `dvc repro`; "
            "else put the old files back",
        )

"""Does the data agree with the pin, and if not, which files differ?

A pin is a hash. The files' names and hashes behind it are kept in `recipes/pins/`, so that a
disagreement can be told file by file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from lora_recipes.dataset.build import build
from lora_recipes.dataset.find import shown
from lora_recipes.dataset.geometry import Size
from lora_recipes.dataset.manifest import HashedFields, Manifest, content_hash, hashed_fields
from lora_recipes.errors import Problem, UserError
from lora_recipes.files import own_folder, write_text
from lora_recipes.printable import line as brief
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Quiet, Reporter

UNPINNED = "unpinned"


def accept(root: Path, dataset: Dataset) -> Manifest:
    """Look at the project's data as they are now and keep their listing, for a new pin.

    Writing the hash itself into a recipe or params.yaml is the recipe floor's work.

    Raises:
        UserError: the data cannot be read as they are; files are named.
    """
    manifest = look(root, dataset, Quiet())
    write_listing(root, manifest)
    return manifest


def look(
    root: Path,
    dataset: Dataset,
    report: Reporter,
    readable: Callable[[dict[str, Size]], None] = lambda sizes: None,
) -> Manifest:
    """The manifest of the project's data as they are now. Facts are kept under `.lora/`.

    `readable` is told the size of each picture that can be read, before others are refused.
    """
    return build(data_folder(root), dataset, facts_file(root), report, readable)


def facts_file(root: Path) -> Path:
    """Where the facts about the pictures of the project's data folder are kept."""
    return own_folder(root) / "pictures" / f"{data_folder(root).name}.json"


def listing_path(root: Path, pin: str) -> Path:
    """Where the listing behind a pin lies."""
    return root / "recipes" / "pins" / f"{pin.removeprefix('sha256:')[:16]}.json"


def write_listing(root: Path, manifest: Manifest) -> Path:
    """Keep what a pin stands for, one line per picture; to be committed with the pin."""
    lines = [
        json.dumps(hashed_fields(image), ensure_ascii=False, sort_keys=True)
        for image in manifest.images
    ]
    path = listing_path(root, manifest.hash)
    images = ",\n".join(lines)
    write_text(path, f'{{"hash": "{manifest.hash}",\n"images": [\n{images}\n]}}\n')
    return path


def read_listing(root: Path, pin: str) -> list[HashedFields] | None:
    """What a pin stands for, or None where that is not known (no listing, or not the pin's)."""
    try:
        path = listing_path(root, pin)
        images = json.loads(path.read_text("utf-8"))["images"] if path.is_file() else []
        return list(images) if content_hash(images) == pin else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def check_pin(root: Path, folder: Path, manifest: Manifest, pin: str, report: Reporter) -> None:
    """Compare the data with the pin; unpinned data only get a warning.

    Args:
        folder: the data folder.
        pin: `dataset.manifest`.

    Raises:
        UserError: they differ. Names every file that does, where the listing is known.
    """
    if pin == UNPINNED:
        report.warn(
            f"{shown(folder)}: unpinned data, {manifest.hash}; `lora-recipes pin` makes sure that "
            "a later run gets the same"
        )
        return
    if pin == manifest.hash:
        report.say(f"{shown(folder)}: as pinned, {manifest.hash}")
        return
    listing = read_listing(root, pin)
    if listing is None:
        kept = listing_path(root, pin).relative_to(root)
        lines = [f"which files differ is not known: {kept} is missing or does not fit the pin"]
    else:
        lines = differences(listing, [hashed_fields(image) for image in manifest.images])
    what = f"the data are {manifest.hash}, but dataset.manifest pins {pin}"
    raise UserError(
        Problem(
            where=shown(folder),
            what="\n".join([what, *(f"  {line}" for line in lines)]),
            fix=f"{_way_back(folder)}, or accept the data as they are: `lora-recipes pin`",
        )
    )


def differences(old: list[HashedFields], new: list[HashedFields]) -> list[str]:
    """What changed from one listing to another, a line per file, by kind of change."""
    before = {str(image["path"]): image for image in old}
    after = {str(image["path"]): image for image in new}
    gone, come = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    renamed = _renamed({path: before[path] for path in gone}, {path: after[path] for path in come})
    pairs = [(path, path) for path in sorted(before.keys() & after.keys())] + renamed
    left, arrived = {old for old, _ in renamed}, {new for _, new in renamed}
    lines = [f"added:    {path}" for path in come if path not in arrived]
    lines += [f"removed:  {path}" for path in gone if path not in left]
    lines += [f"renamed:  {old} -> {new}" for old, new in renamed]
    for field, word in (("sha256", "changed: "), ("role", "role:    "), ("repeats", "repeats: ")):
        for old_path, path in pairs:
            was, now = before[old_path][field], after[path][field]
            if was != now:
                lines.append(f"{word} {path}" + ("" if field == "sha256" else f": {was} -> {now}"))
    for old_path, path in pairs:
        was, now = before[old_path]["caption"], after[path]["caption"]
        if was != now:
            lines.append(f'caption:  {path}: "{was}" -> "{now}"')
    return [brief(line) for line in lines]


def _renamed(gone: dict[str, HashedFields], come: dict[str, HashedFields]) -> list[tuple[str, str]]:
    """Paths of the same bytes, old and new, in order."""
    homeless = defaultdict(list)
    for path in sorted(gone):
        homeless[gone[path]["sha256"]].append(path)
    pairs = []
    for path in sorted(come):
        candidates = homeless[come[path]["sha256"]]
        if candidates:
            pairs.append((candidates.pop(0), path))
    return pairs


def _way_back(folder: Path) -> str:
    pointer = folder.with_name(folder.name + ".dvc")
    if pointer.exists():
        # `dvc repro` has just written the changed data into the pointer: git has the old one
        name = shown(pointer)
        return f"get the pinned files back with `git checkout {name} && dvc checkout {name}`"
    return "put the pinned files back (`git checkout`, or your backup)"

"""Does the data agree with the pin, and if not, which files differ?

A pin is a hash. The files' names and hashes behind it are kept in `recipes/pins/`, so that a
disagreement can be told file by file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from lora_recipes.command import as_called
from lora_recipes.dataset.build import build
from lora_recipes.dataset.manifest import HashedFields, Manifest, content_hash, hashed_fields
from lora_recipes.dataset.place import shown
from lora_recipes.errors import MOST_PRINTED, Problem, UserError, Wording
from lora_recipes.files import own_folder, read_bytes, write_text
from lora_recipes.pipeline import PARAMS
from lora_recipes.printable import line as brief
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.kept import way_back
from lora_recipes.recipe.missing_folder import missing_folder
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.size import Size
from lora_recipes.reporting import Quiet, Reporter
from lora_recipes.text import first_few

UNPINNED = "unpinned"
SETTINGS_BACK: Wording = (
    "put dataset.trigger, class_word, template, heldout and control, or caption files, back: the "
    "pictures are those that were pinned"
)


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

    Raises:
        UserError: there is no such folder, or its pictures cannot be read as they are.
    """
    if problem := missing_folder(root):
        raise UserError(problem)
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


def drop_listing(root: Path, pin: str) -> None:
    """Delete what a replaced pin stood for, unless a recipe still names it; git keeps the old."""
    recipes = [root / PARAMS, *(root / "recipes").glob("*.yaml")]
    if pin != UNPINNED and not any(pin in file.read_text("utf-8") for file in recipes):
        listing_path(root, pin).unlink(missing_ok=True)


def read_listing(root: Path, pin: str) -> list[HashedFields] | None:
    """What a pin stands for, or None where that is not known (no listing, or not the pin's)."""
    try:
        images = json.loads(read_bytes(listing_path(root, pin)))["images"]
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
            f"{shown(folder)}: unpinned data, {manifest.hash}; `{as_called('pin')}` makes "
            "sure that a later run gets the same"
        )
        return
    if pin == manifest.hash:
        report.say(f"{shown(folder)}: as pinned, {manifest.hash}")
        return
    listing = read_listing(root, pin)
    accept_them = f"accept the data as they are: `{as_called('pin')}`"
    fix = f"{way_back(root, folder)}, or {accept_them}"
    if listing is None:
        kept = listing_path(root, pin).relative_to(root)
        lines = [f"which files differ is not known: {kept} is missing or does not fit the pin"]
    else:
        lines = differences(listing, [hashed_fields(image) for image in manifest.images])
        if _only_settings(listing, manifest):
            fix = f"{accept_them}; or {SETTINGS_BACK}"
    what = f"the data are {manifest.hash}, but dataset.manifest pins {pin}"
    raise UserError(
        Problem(
            where=shown(folder),
            what=f"{what}\n  " + first_few(lines, MOST_PRINTED, "\n  "),
            fix=fix,
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
        was, now = _captions(before[old_path]), _captions(after[path])
        if was != now:
            lines.append(f"caption:  {path}: {was} -> {now}")
    return [brief(line) for line in lines]


def _captions(image: HashedFields) -> str:
    captions = image.get("captions")
    several = captions if isinstance(captions, list) else [image["caption"]]
    return ", ".join(f'"{caption}"' for caption in several)


def _renamed(gone: dict[str, HashedFields], come: dict[str, HashedFields]) -> list[tuple[str, str]]:
    """Paths of the same bytes, old and new, in order."""
    homeless = defaultdict(list)
    for path in sorted(gone):
        homeless[str(gone[path]["sha256"])].append(path)
    pairs = []
    for path in sorted(come):
        candidates = homeless[str(come[path]["sha256"])]
        if candidates:
            pairs.append((candidates.pop(0), path))
    return pairs


def _only_settings(listing: list[HashedFields], manifest: Manifest) -> bool:
    """Whether other settings alone, of words or roles, make the difference."""
    before = {image["path"]: image for image in listing}
    files = {(image["path"], image["sha256"]) for image in listing}
    return files == {(image.path, image.sha256) for image in manifest.images} and all(
        image.caption_from == "template"
        or _captions(hashed_fields(image)) == _captions(before[image.path])
        for image in manifest.images
    )

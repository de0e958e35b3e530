"""From the recipe's `base` section to the files on this machine, and to their identity. No torch.

located = locate(base, root)
identity(located, root / ".lora/hashes.json")   # sha256:…
"""

from __future__ import annotations

import os
from pathlib import Path

from lora_recipes.base import components, folder, hub, single_file
from lora_recipes.base.components import TOKENIZERS, Component, Located
from lora_recipes.base.folder import PICKLES, Search
from lora_recipes.dataset.cache import StatCache
from lora_recipes.errors import UserError
from lora_recipes.hashing import digest, sha256_file
from lora_recipes.recipe.hub_id import can_be_a_path, is_hub_id
from lora_recipes.recipe.sections.base import Base

POCKET = Path(__file__).parent.parent / "pocket/model"
"""The small SDXL that ships with this package."""

LONGEST_SHOWN = 300
"""Letters of a name that a message shows."""

RANDOM = "random-sdxl"
"""SDXL's true sizes with random weights, for tests and benchmarks of training. UNet only."""


def locate(base: Base, root: Path, *, download: bool = True) -> Located:
    """Find every file of a base model; relative paths start at `root`.

    For a Hugging Face id, missing files are fetched at the pinned revision, unless `download` is
    false or HF_HUB_OFFLINE is set.

    Raises:
        UserError: files are missing, damaged, pickles, or of another kind of model.
        Absent: files of the hub are not on this machine; its `found` are the parts that are.
    """
    try:
        located = _locate_model(base, root, download)
        parts = dict(located.components)
        try:
            if base.vae != "base":
                parts.pop("vae", None)
                parts["vae"] = _locate_vae(base, root, download)
            if base.tokenizer != "base":
                parts |= _locate_tokenizers(base.tokenizer, base.tokenizer_revision, root, download)
            elif located.kind == "file":
                parts |= _locate_tokenizers(hub.SDXL_ID, hub.SDXL_REVISION, root, download)
        except hub.Absent as error:
            error.found = Located(located.kind, located.name, parts)
            raise
        return Located(located.kind, located.name, parts)
    except OSError as error:
        raise UserError.of(
            where=str(error.filename or base.model),
            what=f"cannot be read: {error.strerror or error}",
            fix="give yourself the right to read the base model's files and folders",
        ) from error


def identity(located: Located, cache: Path) -> str:
    """One hash for the base model: of its files' hashes and, from the hub, its id and commit.

    `cache` is the file that remembers hashes of untouched files, `.lora/hashes.json`.
    """
    name = located.name if located.kind in ("hub", "random") else located.kind
    return digest({"model": name, "components": component_hashes(located, cache)})


def component_hashes(located: Located, cache: Path) -> dict[str, str]:
    """For each part, one hash of the names and bytes of its files."""
    known = StatCache(cache, "base 1")
    hashes = {
        name: digest(sorted((file.name, _sha256(file, known)) for file in component.files))
        for name, component in sorted(located.components.items())
    }
    known.save()
    return hashes


def _locate_model(base: Base, root: Path, download: bool) -> Located:
    if base.model == "pocket":
        return Located("pocket", "pocket", _whole(POCKET, folder.search_model(POCKET)))
    if base.model == RANDOM:
        found = {name: _packaged(name) for name in ("unet", "vae", "scheduler")}
        return Located("random", RANDOM, found)
    path = _local("base.model", base.model, root)
    if path is None:
        place, search = hub.find(
            "base.model", base.model, base.revision, hub.MODEL_PATTERNS, folder.search_model,
            download=download,
        )  # fmt: skip
        return Located("hub", f"{base.model}@{base.revision}", _whole(place, search))
    if path.is_dir():
        return Located("folder", base.model, _whole(path, folder.search_model(path)))
    parts = single_file.locate_checkpoint(path, own_vae=base.vae == "base")
    return Located("file", base.model, parts | {"scheduler": _packaged("scheduler")})


def _locate_vae(base: Base, root: Path, download: bool) -> Component:
    path = _local("base.vae", base.vae, root)
    if path is not None and path.is_file():
        return single_file.locate_vae(path)

    def look(place: Path) -> Search:
        search = Search()
        inside = "vae" if (place / "vae").is_dir() else ""
        folder.search_weights(search, place, "vae", inside=inside)
        return search

    if path is None:
        patterns = hub.weight_patterns("vae", inside="")
        path, search = hub.find(
            "base.vae", base.vae, base.vae_revision, patterns, look, download=download
        )
    else:
        search = look(path)
    return _whole(path, search, "base.vae")["vae"]


def _locate_tokenizers(
    name: str, revision: str, root: Path, download: bool
) -> dict[str, Component]:
    def look(place: Path) -> Search:
        search = Search()
        for part in TOKENIZERS:
            folder.search_tokenizer(search, place, part)
        return search

    path = _local("base.tokenizer", name, root)
    if path is None:
        patterns = hub.TOKENIZER_PATTERNS
        path, search = hub.find("base.tokenizer", name, revision, patterns, look, download=download)
    else:
        search = look(path)
    return _whole(path, search, "base.tokenizer")


def _local(key: str, name: str, root: Path) -> Path | None:
    """The file or folder that a name means; None if it means a repository of the hub.

    Raises:
        UserError: it is a pickle, or neither is there.
    """
    if not can_be_a_path(name, root):
        raise _no_such(key, name, "no file or folder can be called that")
    path = root / Path(name).expanduser()
    if not path.exists() and "DVC_ROOT" in os.environ:
        # queued experiments run in throw-away copies that lack what git does not track
        path = Path(os.environ["DVC_ROOT"]) / Path(name).expanduser()
    if path.suffix.lower() in PICKLES:
        raise UserError.of(
            what=f"{key} = {name}: a pickle, which can run code when it is opened",
            fix="use the .safetensors file of this model; most authors offer one",
        )
    if path.is_dir() or (path.is_file() and path.suffix == ".safetensors"):
        return path
    if not path.exists() and is_hub_id(name, root):
        return None
    raise _no_such(key, name, "not a .safetensors file" if path.exists() else f"there is no {path}")


def _no_such(key: str, name: str, why: str) -> UserError:
    shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
    return UserError.of(
        what=f"{key} = {shown}: {why}",
        allowed="a Hugging Face id (owner/name), a diffusers folder, a .safetensors file"
        + (", or pocket" if key == "base.model" else ", or base"),
        fix="correct the name or the path",
    )


def _sha256(file: Path, known: StatCache) -> str:
    file = file.resolve()  # the hub's cache holds links
    before = file.stat()
    found = known.get(file, before)
    if not isinstance(found, str):
        found = sha256_file(file)
        known.put(file, before, found)
    return found


def _whole(place: Path, search: Search, key: str = "base.model") -> dict[str, Component]:
    folder.check(place, search, key)
    return search.components


def _packaged(name: str) -> Component:
    return Component(components.CONFIGS / name)

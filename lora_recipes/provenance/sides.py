"""The two things that diff compares: each a commit, or an adapter file; and what is known of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lora_recipes.dataset.manifest import GENERATED, HashedFields, content_hash
from lora_recipes.dataset.pin import listing_path
from lora_recipes.dataset.roles import hashed
from lora_recipes.errors import CannotTell
from lora_recipes.formats.header import recipe_of
from lora_recipes.pipeline import ADAPTER, ENVIRONMENT, FIGURES, MANIFEST, RECORD, RESOLVED
from lora_recipes.provenance.history import LOCK, output_md5
from lora_recipes.provenance.lock import DAMAGES, stages_in
from lora_recipes.provenance.objects import Objects, file_md5
from lora_recipes.provenance.processes import ask_git, git
from lora_recipes.provenance.revision import resolve_revision
from lora_recipes.provenance.worktree import cache_folder
from lora_recipes.recipe.missing_folder import pull_command
from lora_recipes.recipe.releases import Leaves, comparable
from lora_recipes.tensors import read_header
from lora_recipes.tree import flat

METRICS = (RECORD, FIGURES)
_RENAMED_METRICS = {
    "loss_smoothed": "loss_last",
    **{
        f"{old}{part}": f"{new}_loss{now}"
        for old, new in (("heldout", "heldout"), ("control", "control"), ("others", "control"))
        for part, now in ((".adapter", ""), (".base", "_base"), ("_change", "_change"))
    },
}
"""Metrics of earlier releases that have another name now."""

_ABOUT_CODE = ("code.", "packages.")
_NO_SETTING = ("overridden", "prior_prompts", "schema")
"""Keys of resolved.yaml that say how the settings came about, or say them again."""

_NEVER_TWICE = ("ss_session_id", "ss_training_", "sshs_", "modelspec.date", "modelspec.hash")
"""How fields of a header begin that differ from run to run, or that follow from the tensors."""

REPEAT = "dvc repro"
"""What brings an output back where no remote holds it: it is made again, the same bytes."""

AT_THE_END = "the last"
"""The step of an adapter that is no snapshot."""


@dataclass(frozen=True)
class Side:
    """What is known of one commit or file; None where it does not say."""

    name: str
    recipe: Leaves | None = None
    """Settings by dotted key."""

    header: Leaves | None = None
    """The fields of a file that no recipe of ours stands in, without those that never repeat."""

    code: Leaves | None = None
    """Hashes of the stages' code and the locked packages."""

    data: str = ""
    """The manifest's hash; empty where it is not stated."""

    images: list[HashedFields] | None = None
    """The pictures behind that hash, if a listing of them is at hand."""

    environment: Leaves | None = None
    metrics: Leaves | None = None
    adapter: Path | None = None
    """The file of its tensors, sound."""

    no_adapter: str = ""
    """Why there is none, and what would bring it."""

    covers: frozenset[str] = field(default_factory=frozenset)
    """The recipe's sections that it speaks of; a file's header has those that bytes depend on."""


def side(root: Path, name: str) -> Side:
    """What a name means: an adapter file, if there is a file of that name, else a revision.

    Raises:
        CannotTell: nothing is called so.
        UserError: the file is cut off, or no safetensors file.
    """
    if Path(name).suffix == ".safetensors" or (root / name).is_file():
        return _of_file(root, root / name, name)
    return _of_commit(root, name)


def _of_file(root: Path, file: Path, name: str) -> Side:
    metadata = read_header(file).metadata
    recipe = recipe_of(metadata)
    data = str(recipe.pop("manifest", ""))
    recipe.pop("hash", None)
    recipe = comparable(recipe)
    if recipe:
        recipe.setdefault("step", AT_THE_END)
    fields = {key: text for key, text in metadata.items() if not key.startswith(_NEVER_TWICE)}
    pinned = listing_path(root, data)
    images = _listing(pinned.read_bytes(), data) if data and pinned.is_file() else None
    return Side(
        name=name,
        recipe=recipe or None,
        header=None if recipe else fields,
        data=data,
        images=images,
        adapter=file,
        covers=_sections(recipe),
    )


def _of_commit(root: Path, name: str) -> Side:
    revision = resolve_revision(root, name)
    commit = _Commit(root, revision.commit)
    resolved = commit.yaml(RESOLVED)
    keys = flat(resolved) if isinstance(resolved, dict) else {}
    recipe = comparable(
        {
            key: value
            for key, value in keys.items()
            if not key.startswith(_ABOUT_CODE) and key.partition(".")[0] not in _NO_SETTING
        }
    )
    if recipe:
        recipe["step"] = AT_THE_END
    record = commit.json(RECORD) | commit.json(ENVIRONMENT)  # earlier releases had one file
    data, images = commit.data(str(keys.get("dataset.manifest", "")))
    adapter, why = commit.adapter()
    return Side(
        name=f"{name} ({revision.commit[:10]})" if revision.kind != "commit" else name,
        recipe=recipe or None,
        code={key: value for key, value in keys.items() if key.startswith(_ABOUT_CODE)} or None,
        data=data,
        images=images,
        environment=flat(record["environment"]) if "environment" in record else None,
        metrics=_figures(commit) or None,
        adapter=adapter,
        no_adapter=why,
        covers=_sections(recipe),
    )


def _figures(commit: _Commit) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for file in METRICS:
        found = {key: value for key, value in commit.json(file).items() if key != "environment"}
        figures |= flat(found) if found else {}
    return {
        _RENAMED_METRICS.get(key, key): value
        for key, value in figures.items()
        if not key.endswith("_sha256")
    }


def _sections(keys: Leaves) -> frozenset[str]:
    return frozenset(key.partition(".")[0] for key in keys)


@dataclass(frozen=True)
class _Commit:
    """The files of a commit, and of its outputs in the cache."""

    root: Path
    id: str

    def text(self, file: str) -> str:
        """A file's content; empty if the commit does not hold it."""
        prefix = git(self.root, "rev-parse", "--show-prefix")
        done = ask_git(self.root, "cat-file", "blob", f"{self.id}:{prefix}{file}")
        return done.out if done.code == 0 else ""

    def yaml(self, file: str) -> Any:
        try:
            return YAML(typ="safe", pure=True).load(self.text(file))
        except (YAMLError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(file) from error

    def json(self, file: str) -> dict[str, Any]:
        text = self.text(file)
        try:
            found = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise self._damaged(file) from error
        return found if isinstance(found, dict) else {}

    def data(self, pin: str) -> tuple[str, list[HashedFields] | None]:
        """The manifest's hash and pictures: from the commit's listing, or the cache's manifest."""
        if pin.startswith("sha256:"):
            file = listing_path(self.root, pin).relative_to(self.root).as_posix()
            images = _listing(self.text(file).encode(), pin)
            if images is not None:
                return pin, images
        md5 = output_md5(self.text(LOCK).encode(), "dataset", MANIFEST)
        if not md5 or _objects(self.root).look(MANIFEST, md5):
            return (pin if pin.startswith("sha256:") else ""), None
        manifest = _objects(self.root).path(md5).read_bytes()
        try:
            found = str(json.loads(manifest)["hash"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(MANIFEST) from error
        return found, _listing(manifest, found)

    def adapter(self) -> tuple[Path | None, str]:
        """Its file in the cache or the working tree, or why there is none."""
        md5 = output_md5(self.text(LOCK).encode(), "train", ADAPTER)
        if not md5:
            return None, f"{LOCK} names no adapter: {self._why_none()}"
        back = f"git checkout {self.id[:10]} && {pull_command(self.root) or REPEAT}"
        here = self.root / ADAPTER
        if here.is_file() and file_md5(here) == md5:
            return here, ""
        faults = _objects(self.root).look(ADAPTER, md5)
        if faults.damaged:
            what = f"damaged: delete {faults.damaged[ADAPTER]}, then `{back}`"
            return None, f"its adapter's object in DVC's cache is {what}"
        if faults.missing:
            return None, f"its adapter is not in DVC's cache: `{back}`"
        return _objects(self.root).path(md5), ""

    def _why_none(self) -> str:
        text = self.text(LOCK)
        try:
            if text:
                stages_in(text.encode())
        except DAMAGES:
            return "it is damaged in this commit; compare with another"
        return "nothing was trained in this commit"

    def _damaged(self, file: str) -> CannotTell:
        return CannotTell.of(
            where=file,
            what=f"cannot be read in commit {self.id[:10]}",
            fix="compare with another commit; this one's file is damaged",
        )


@lru_cache(maxsize=1)
def _objects(root: Path) -> Objects:
    """Asking DVC where its cache lies takes half a second."""
    return Objects(cache_folder(root))


def _listing(content: bytes, data: str) -> list[HashedFields] | None:
    """The pictures of a listing or a manifest, if they are those behind a hash."""
    try:
        images = [
            {key: image[key] for key in ("path", "sha256", "caption", "repeats")}
            | {"role": hashed(image["role"])}
            | {key: image[key] for key in ("captions", "mask_sha256") if key in image}
            for image in json.loads(content)["images"]
            if image.get("caption_from") != GENERATED
        ]
        return images if content_hash(images) == data else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None

"""Finding a model of the Hugging Face hub on this machine, or fetching it. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lora_recipes.base.components import TOKENIZERS, WEIGHT_STEMS, Located
from lora_recipes.base.folder import Search
from lora_recipes.errors import Problem, UserError

SDXL_ID = "stabilityai/stable-diffusion-xl-base-1.0"
SDXL_REVISION = "462165984030d82259a11f4367a4eed129e94a7b"
"""Whose tokenizers a single-file checkpoint gets; all of SDXL shares them."""


class Absent(UserError):
    """Files of the hub that are not on this machine."""

    found: Located | None = None
    """The parts that are, where some are."""


def weight_patterns(name: str, inside: str | None = None) -> list[str]:
    """The files of one part with weights, in the hub's patterns: safetensors only."""
    place = f"{name}/" if inside is None else inside
    stem = WEIGHT_STEMS[name]
    return [
        f"{place}config.json",
        f"{place}{stem}.safetensors",
        f"{place}{stem}.safetensors.index.json",
        f"{place}{stem}-*-of-*.safetensors",
    ]


TOKENIZER_PATTERNS = [f"{name}/*.{suffix}" for name in TOKENIZERS for suffix in ("json", "txt")]
MODEL_PATTERNS = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    *TOKENIZER_PATTERNS,
    *(pattern for name in WEIGHT_STEMS for pattern in weight_patterns(name)),
]


def find(
    key: str,
    repository: str,
    revision: str,
    patterns: Sequence[str],
    look: Callable[[Path], Search],
    *,
    download: bool,
) -> tuple[Path, Search]:
    """The folder of a pinned revision in the hub's cache, complete.

    What is missing is fetched first, unless `download` is false or HF_HUB_OFFLINE is set. Whole
    precision is fetched; files of a fp16 variant are used where only they are there.

    Raises:
        UserError: no revision is given.
        Absent: files are missing and cannot be fetched: which ones, from where, and where to put
            them.
    """
    if revision == "none":
        setting = "base.revision" if key == "base.model" else f"{key}_revision"
        raise UserError.of(
            what=f"{key} = {repository}: no commit is named, so its content could change",
            fix=f"set {setting} to the 40 hex digits of a commit of that repository",
        )
    from huggingface_hub import constants, file_download

    store = Path(constants.HF_HUB_CACHE)
    name = file_download.repo_folder_name(repo_id=repository, repo_type="model")
    folder = store / name / "snapshots" / revision
    search = look(folder)
    reason = "nothing was fetched" if not download else "HF_HUB_OFFLINE is set"
    if search.missing and download and not constants.HF_HUB_OFFLINE:
        reason = _fetch(repository, revision, patterns)
        search = look(folder)
    if search.missing:
        raise Absent(_not_there(key, repository, revision, search.missing, reason))
    return folder, search


def _fetch(repository: str, revision: str, patterns: Sequence[str]) -> str:
    """Download; the answer says why files may still be missing."""
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, revision=revision, allow_patterns=list(patterns))
    except Exception as error:  # whatever the network says, the user needs the list of files
        return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".: ")
    return "the repository does not hold them"


def _not_there(
    key: str, repository: str, revision: str, missing: Sequence[str], reason: str
) -> Problem:
    files = "".join(f"\n    {name}" for name in missing)
    return Problem(
        what=f"{key} = {repository}: not on this machine ({reason}); missing at revision "
        f"{revision}:{files}",
        fix="where there is a network, run\n"
        f"    hf download {repository} --revision {revision} {' '.join(missing)}\n"
        "  and copy the cache (HF_HOME) here; or put the files, with these sub-folders, into a\n"
        f"  folder of your choice and set {key} to its path",
    )

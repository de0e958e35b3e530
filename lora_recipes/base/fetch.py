"""What of a base model is yet to be fetched, and what stands against it: for a plan, no torch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from lora_recipes.base.hub import Absent
from lora_recipes.base.locate import locate
from lora_recipes.errors import Problem
from lora_recipes.recipe.hub_id import is_hub_id
from lora_recipes.recipe.sections.base import Base

GB = 10**9
SIZES = {
    "unet": 4 * 2_567_463_684,
    "text_encoder": 4 * 123_060_480,
    "text_encoder_2": 4 * 694_659_840,
    "vae": 4 * 83_653_863,
}
"""Bytes of SDXL's parts in whole precision, which is what is fetched: four for each weight."""

LITTLE = GB // 100
"""Bytes of what has no weights, such as the tokenizers."""


@dataclass(frozen=True)
class Fetch:
    """A download that `resolve` would begin with."""

    text: str
    problems: list[Problem] = field(default_factory=list)
    """Why it would fail."""


def yet_to_fetch(base: Base, root: Path) -> Fetch | None:
    """What resolve would download of a base model; None where all of it is here.

    Raises:
        UserError: the model is on this machine by its name, and damaged or incomplete.
    """
    from huggingface_hub import constants

    try:
        locate(base, root, download=False)
        return None
    except Absent as error:
        here = error.found.components if error.found else {}
    size = max(LITTLE, sum(bytes_ for name, bytes_ in SIZES.items() if name not in here))
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(each for each in (cache, *cache.parents) if each.exists())).free
    remote = [n for n in (base.model, base.vae, base.tokenizer) if is_hub_id(n, root)]
    amount = f"about {_gb(size)} to fetch, {_gb(free)} free"
    text = f"{' and '.join(remote)}: not on this machine, or not whole: {amount}"
    if constants.HF_HUB_OFFLINE:
        return Fetch(text, _offline(base, root))
    if free < size:
        what = f"base.model = {base.model}: {amount} in {cache}"
        fix = "free some space there, or set HF_HOME to a folder on a larger disk"
        return Fetch(text, [Problem(what=what, fix=fix)])
    return Fetch(text)


def _offline(base: Base, root: Path) -> list[Problem]:
    """What resolve would say: which files to get, and where to put them. Nothing is fetched."""
    try:
        locate(base, root)
    except Absent as error:
        return list(error.problems)
    return []


def _gb(size: int) -> str:
    return f"{size / GB:.0f} GB" if size >= GB else f"{size / GB:.2f} GB"

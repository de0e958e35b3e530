"""By what peft scales a module, where no `.alpha` in the file says it. No torch.

    lora_alpha / r     or, with use_rslora, lora_alpha / √r

alpha and r stand in `lora_adapter_metadata`, which diffusers writes into the header, one set for
each model of the pipeline (`unet.r`, `text_encoder.r`, …) or one without a prefix; for peft's own
files in `adapter_config.json` beside them. `alpha_pattern` and `rank_pattern` give some modules
values of their own.

Sources: huggingface/diffusers, loaders/lora_base.py and utils/peft_utils.py; huggingface/peft,
tuners/lora/{config,model,layer}.py and utils/other.py (`get_pattern_key`).
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_recipes.formats.header import parsed
from lora_recipes.formats.layout import Module

FIELD = "lora_adapter_metadata"
CONFIG = "adapter_config.json"

LARGEST_CONFIG = 2**20
"""Bytes of `adapter_config.json`. peft writes one or two thousand."""

DEFAULT = 8
"""peft's alpha and r where a configuration does not state them."""

PEFT = "base_model.model."
"""How names begin in files that peft itself wrote."""

_COMPONENTS = {
    "UNet": "unet",
    "TE1": "text_encoder",
    "TE2": "text_encoder_2",
    "TE3": "text_encoder_3",
    "transformer": "transformer",
}
"""diffusers' name of the model by the part that a module's name tells."""

_NAME = re.compile(r"(\^?)([\w.\-]+)\$?")
_GLOB = re.compile(r"(\^?)([\w.\-*]+)\$?")
_CHOICE = re.compile(r"\(([\w.\-*|]+)\)")

MOST_GLOBS = 100
"""Patterns with `.*` or `(a|b)` in one list. Whole regular expressions, which peft takes, are not
tried: a stranger's could run for ever."""

MOST_STARS = 8
"""`.*` in one pattern."""

MOST_DOTS = 32
"""In a name of a pattern."""


@dataclass(frozen=True)
class Stated:
    """What a configuration says of one module."""

    alpha: float
    rank: int
    root: bool
    """Whether alpha is divided by √r."""

    source: str
    """Where that stands."""

    def factor(self, rank: int | None) -> float:
        """The scale of a module of this rank; the configuration's own rank where it has none."""
        size = rank or self.rank
        return self.alpha / (math.sqrt(size) if self.root else size)


@dataclass(frozen=True)
class Glob:
    """A pattern with `.*` in it: the pieces between, in order."""

    pieces: tuple[str, ...]
    anchored: bool
    """Whether it has to begin where the path begins, not behind any dot."""

    def fits(self, path: str) -> bool:
        """Whether the path, or an end of it that begins behind a dot, is like this."""
        first, *others = self.pieces
        if not others:
            return path == first or (not self.anchored and path.endswith(f".{first}"))
        if path.startswith(first):
            place = len(first)
        elif not self.anchored and (found := path.find(f".{first}")) >= 0:
            place = found + 1 + len(first)
        else:
            return False
        for piece in others[:-1]:
            if (found := path.find(piece, place)) < 0:
                return False
            place = found + len(piece)
        return path.endswith(others[-1]) and place <= len(path) - len(others[-1])


@dataclass(frozen=True)
class Pattern:
    """Values of some modules, by the end of their names."""

    names: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Place in the list and value by name, `^` before a name that is whole."""

    globs: tuple[tuple[int, Glob, float], ...] = ()

    def of(self, path: str) -> float | None:
        """The value of the first entry that a module's path ends in, as peft looks for it."""
        found = [self.names[end] for end in _ends(path) if end in self.names] if self.names else []
        found += [(place, value) for place, glob, value in self.globs if glob.fits(path)]
        return min(found)[1] if found else None


@dataclass(frozen=True)
class Configuration:
    """peft's configuration of one model's adapter."""

    source: str
    alpha: float
    rank: int
    root: bool
    alphas: Pattern
    ranks: Pattern

    def of(self, path: str) -> Stated:
        """What it says of a module."""
        alpha, rank = self.alphas.of(path), self.ranks.of(path)
        return Stated(
            self.alpha if alpha is None else alpha,
            self.rank if rank is None else int(rank),
            self.root,
            self.source,
        )


@dataclass(frozen=True)
class Scales:
    """The configurations that stand in a file and beside it."""

    by_model: Mapping[str, Configuration] = field(default_factory=dict)
    """By diffusers' name of the model; the empty name is that of all."""

    peft: Configuration | None = None
    """Of the file beside it."""

    trouble: tuple[str, ...] = ()
    """What stands there and could not be used."""

    def of(self, module: Module) -> Stated | None:
        """What is stated of a module; None where nothing is."""
        name = module.name.partition(" @")[0]
        if name.startswith(PEFT):
            path = name.removeprefix(PEFT)
            return self.peft.of(path) if self.peft else None
        if not self.by_model:
            return None
        first, _, rest = name.partition(".")
        if first in self.by_model:
            return self.by_model[first].of(rest)
        model = _COMPONENTS.get(module.part, "")
        found = self.by_model.get(model) or self.by_model.get("")
        return found.of(name) if found else None


NONE = Scales()


def read_scales(path: Path, metadata: Mapping[str, str]) -> Scales:
    """What a file's header, and peft's configuration in the same folder, state."""
    trouble: list[str] = []
    by_model = dict(_of_header(metadata, trouble))
    return Scales(by_model, _beside(path, trouble), tuple(trouble))


def _of_header(
    metadata: Mapping[str, str], trouble: list[str]
) -> Iterator[tuple[str, Configuration]]:
    if FIELD not in metadata:
        return
    fields = parsed(metadata[FIELD])
    if not isinstance(fields, dict):
        trouble.append(f"{FIELD} is not JSON")
        return
    models: dict[str, dict[str, Any]] = {}
    for key, value in fields.items():
        model, _, name = key.rpartition(".")
        models.setdefault(model, {})[name] = value
    for model, values in models.items():
        source = f"{FIELD}: {model}".removesuffix(": ")
        if found := _configuration(values, source, trouble):
            yield model, found


def _beside(path: Path, trouble: list[str]) -> Configuration | None:
    file = path.parent / CONFIG
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_CONFIG:
        trouble.append(f"{CONFIG} is no file, or larger than {LARGEST_CONFIG:,} bytes")
        return None
    try:
        values = json.loads(file.read_bytes())
    except OSError as error:
        trouble.append(f"{CONFIG} cannot be read: {error.strerror or error}")
        return None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        trouble.append(f"{CONFIG} is not JSON, or no configuration")
        return None
    return _configuration(values, CONFIG, trouble)


def _configuration(
    values: Mapping[str, Any], source: str, trouble: list[str]
) -> Configuration | None:
    alpha = values.get("lora_alpha", values.get("alpha"))
    rank = values.get("r")
    if alpha is None and rank is None and "target_modules" not in values:
        return None
    alpha, rank = (DEFAULT if value is None else value for value in (alpha, rank))
    if not _is_number(alpha) or not _is_number(rank) or rank < 1:
        trouble.append(f"{source}: alpha and r are not numbers that can be used")
        return None
    patterns = [_pattern(values, key, source, trouble) for key in ("alpha_pattern", "rank_pattern")]
    root = bool(values.get("use_rslora"))
    return Configuration(source, float(alpha), int(rank), root, *patterns)


def _pattern(values: Mapping[str, Any], key: str, source: str, trouble: list[str]) -> Pattern:
    entries = values.get(key)
    names: dict[str, tuple[int, float]] = {}
    globs: list[tuple[int, Glob, float]] = []
    for place, (name, value) in enumerate(entries.items() if isinstance(entries, dict) else ()):
        ways = _globs(name.replace(r"\.", "."))
        if not _is_number(value) or (key == "rank_pattern" and value < 1):
            trouble.append(f"{source}: {key} of {name} is not a number that can be used")
        elif found := _NAME.fullmatch(name.replace(r"\.", ".")):
            names.setdefault(found[1] + found[2], (place, float(value)))
        elif ways and len(globs) + len(ways) <= MOST_GLOBS:
            globs += [(place, glob, float(value)) for glob in ways]
        else:
            trouble.append(f"{source}: {key} of {name} cannot be matched here")
    return Pattern(names, tuple(globs))


def _globs(name: str) -> list[Glob]:
    """The globs that a regular expression of names, `.*` and `(a|b)` stands for; else none."""
    ways = [name]
    while choice := _CHOICE.search(ways[0]):
        ways = [
            way.replace(choice[0], option, 1) for way in ways for option in choice[1].split("|")
        ]
        if len(ways) > MOST_GLOBS:
            return []
    found = [_GLOB.fullmatch(way) for way in ways]
    if not all(one and "*" not in one[2].replace(".*", "") for one in found):
        return []
    if name.count(".*") > MOST_STARS:
        return []
    return [Glob(tuple(one[2].split(".*")), one[1] == "^") for one in found if one]


def _ends(path: str) -> Iterator[str]:
    """A path, and its ends that begin behind a dot; `^` before the whole one too."""
    yield path
    yield f"^{path}"
    place = len(path)
    for _ in range(MOST_DOTS):
        place = path.rfind(".", 0, place)
        if place < 0:
            return
        yield path[place + 1 :]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False

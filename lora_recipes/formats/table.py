"""An adapter's facts as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice

from lora_recipes.formats.header import remaining, text_of
from lora_recipes.formats.inspection import Inspection
from lora_recipes.formats.layout import KINDS, NOT_STATED
from lora_recipes.formats.methods import UNKNOWN
from lora_recipes.printable import line
from lora_recipes.text import aligned, first_few

SHOWN = 5
"""Lines of a list that could be long; the rest is counted."""

WIDEST = 100
"""Characters of a header's value that are shown; `--json` has all."""

MOST_ROWS = 100
"""Fields of a header, and settings of a recipe, that are shown; ours has 70. `--json` has all."""

LONGEST_ROW = 10_000
"""Characters of a line."""

_TURN = ("OFT", "BOFT", "GLoRA", "(IA)³", "HRA", "PSOFT", "T-LoRA", "HiRA", "DeLoRA")

_ELSEWHERE = {
    True: "what it does depends on the base's own weights",
    False: "it is not computed here",
}
"""Why a method that is known by name has no ΔW: whether it is one of `_TURN`."""

_MODELS = {768: "SD 1", 1024: "SD 2", 2048: "SDXL"}

Row = tuple[str, str]


def table(facts: Inspection) -> str:
    """Blocks of aligned lines: the file, its tensors, what the header says, our recipe."""
    blocks = {
        "file": list(_file(facts)),
        "tensors": list(_tensors(facts)),
        f"largest ΔW (of all{_but(facts)}: {facts.total_norm:.4g})": list(_norms(facts)),
        "the header says": list(_stated(facts)),
        "recipe": [(key, text_of(value)) for key, value in facts.recipe.items()],
        "other fields of the header": _cut(
            [
                (name, text_of(facts.metadata[name]))
                for name in remaining(facts.metadata, facts.stated)
                if name != "sshs_model_hash"
            ],
        ),
    }
    shown = {title: _safe(rows) for title, rows in blocks.items() if rows}
    return "\n\n".join(_block(title, rows) for title, rows in shown.items())


def _safe(rows: list[Row]) -> list[Row]:
    """The first of many rows, each of them on one line whatever a stranger wrote into it."""
    more = [("", f"and {len(rows) - MOST_ROWS:,} more")] if len(rows) > MOST_ROWS else []
    return [(line(name), line(text, LONGEST_ROW)) for name, text in [*rows[:MOST_ROWS], *more]]


def _but(facts: Inspection) -> str:
    untold = len(facts.formless) + len(facts.not_computed) + len(facts.too_large)
    return f" but {untold:,}" if untold else ""


def _file(facts: Inspection) -> Iterator[Row]:
    yield "path", facts.file
    yield "size", f"{facts.bytes:,} bytes"
    yield "sha256", facts.hashes.sha256
    yield "md5, as in dvc.lock", facts.hashes.md5
    yield "sshs_model_hash", facts.hashes.data
    yield "", _agreement(facts)
    yield "tensors alone", facts.hashes.tensors


def _agreement(facts: Inspection) -> str:
    if not facts.data_hash_stated:
        return f"recomputed; in the header: {NOT_STATED}"
    if facts.data_hash_stated == facts.hashes.data:
        return "recomputed: as the header says"
    return (
        f"recomputed; the header says {facts.data_hash_stated}: "
        "the tensors are not those that it was written for"
    )


def _tensors(facts: Inspection) -> Iterator[Row]:
    yield "names", facts.style
    kinds = f" in {_counts(facts.dtypes)}" if facts.dtypes else ": the file holds no tensor"
    yield "numbers", f"{facts.values:,}{kinds}"
    yield "method", _counts(facts.methods) if facts.methods else "no module of any known method"
    if facts.magnitudes:
        yield "", f"with DoRA's magnitudes: {facts.magnitudes}; ΔW below is without them"
    yield "rank", _counts(facts.ranks) if facts.ranks else NOT_STATED
    yield "alpha", _counts(facts.alphas) if facts.alphas else NOT_STATED
    yield from _scales(facts)
    for part, found in facts.modules.items():
        shown = [f"{found[kind]} {kind}" for kind in KINDS if kind in found]
        yield part if part != NOT_STATED else "part not stated", ", ".join(shown)
    if facts.attends_to:
        widths = [f"{w} ({_MODELS[w]})" if w in _MODELS else str(w) for w in facts.attends_to]
        yield "text width", ", ".join(widths)
    bad = [f"{count:,} in {name}" for name, count in facts.not_finite.items()]
    yield "not finite", first_few(bad, SHOWN) or "none"
    if facts.formless:
        yield "without a ΔW", _named(facts.formless) + ": tensors are missing or do not fit"
    if facts.too_large:
        yield "without a ΔW", _named(facts.too_large) + ": too large to be computed here"
    for method, count in Counter(facts.not_computed.values()).items():
        names = [name for name, found in facts.not_computed.items() if found == method]
        why = (
            "of no method that is known here" if method == UNKNOWN else _ELSEWHERE[method in _TURN]
        )
        yield "without a ΔW", f"{method} ({count:,}), {first_few([*map(line, names)], 1)}: {why}"
    if facts.embeddings:
        yield "embeddings", _named(facts.embeddings)
    if facts.unknown:
        yield "unknown", _named(facts.unknown) + "; no ΔW holds them"


def _scales(facts: Inspection) -> Iterator[Row]:
    """Where the scale of ΔW is from, unless each module has an `.alpha` of its own."""
    stated = {
        source: n for source, n in facts.scales.items() if source not in (".alpha", NOT_STATED)
    }
    if stated:
        yield "", f"from {_counts(stated)}"
    if facts.rooted:
        yield "", f"divided by √rank (use_rslora): {facts.rooted:,}"
    if facts.scalars:
        yield "", f"ΔW is multiplied by LyCORIS' .scalar: {facts.scalars:,}"
    if missing := facts.scales.get(NOT_STATED):
        some = "" if len(facts.scales) == 1 else f": {missing:,}"
        yield "", f"without alpha ΔW below is at the scale 1{some}"
    if facts.trouble:
        yield "", "not used: " + _named(facts.trouble)


def _norms(facts: Inspection) -> Iterator[Row]:
    for name, size in islice(facts.norms.items(), SHOWN):
        yield f"{size:.4g}", name
    silent = sum(size == 0 for size in facts.norms.values())
    if silent:
        yield "0", f"in {silent} of {len(facts.norms)} modules"


def _stated(facts: Inspection) -> Iterator[Row]:
    for question, answer in facts.stated.items():
        if answer is None:
            yield question, NOT_STATED
        else:
            yield question, f"{_short(answer.value)}  ({answer.field})"


def _counts(counts: Mapping[str, int]) -> str:
    """`8`, or `8 (96), 4 (10)` where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    return _named([f"{value} ({count})" for value, count in counts.items()])


def _named(names: list[str] | tuple[str, ...]) -> str:
    return first_few([*map(line, names)], SHOWN)


def _cut(rows: list[Row]) -> list[Row]:
    return [(name, _short(text)) for name, text in rows]


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _block(title: str, rows: list[Row]) -> str:
    return "\n".join([title, *aligned(rows, indent="  ")])

"""All that can be told of an adapter file by looking at it: ours, or anybody's. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lora_recipes.formats.arrays import Array, read_arrays
from lora_recipes.formats.delta import alpha, norm, rank
from lora_recipes.formats.hashes import FileHashes, file_hashes
from lora_recipes.formats.header import HeaderAnswer, recipe_of, stated
from lora_recipes.formats.layout import NOT_STATED, Layout, Module, layout
from lora_recipes.formats.matrix import TooLargeError
from lora_recipes.formats.methods import ELSEWHERE, INCOMPLETE, UNKNOWN
from lora_recipes.formats.scale import Scales, read_scales
from lora_recipes.printable import finite
from lora_recipes.tensors import Header

BOFT_AXES = 4
"""Of LyCORIS' `oft_blocks`; OFT's have 3."""


@dataclass(frozen=True)
class Inspection:
    """One file, looked at."""

    file: str
    bytes: int
    hashes: FileHashes
    metadata: Mapping[str, str]
    """The header's fields as they are."""

    stated: Mapping[str, HeaderAnswer | None]
    """Answers to the usual questions, from the header."""

    recipe: Mapping[str, Any]
    """What `lora_recipes.*` says, by dotted key."""

    values: int
    """Numbers in all tensors."""

    dtypes: Mapping[str, int]
    """Tensors by type of number."""

    style: str
    """Whose names it uses."""

    methods: Mapping[str, int]
    """Modules by method."""

    magnitudes: int
    """Modules with DoRA's magnitudes."""

    modules: Mapping[str, Mapping[str, int]]
    """Modules by part of the model and kind."""

    ranks: Mapping[str, int]
    """Modules by rank; `whole` where there are no factors."""

    alphas: Mapping[str, int]
    """Modules by alpha; `not stated` where there is none."""

    scales: Mapping[str, int]
    """Modules by where their scale stands: `.alpha`, a field of the header, a file beside it, or
    `not stated`, where it is 1."""

    rooted: int
    """Modules whose alpha is divided by √rank: peft's `use_rslora`."""

    scalars: int
    """Modules with LyCORIS' `.scalar`, which multiplies their ΔW."""

    trouble: tuple[str, ...]
    """Statements about the scale that could not be used."""

    attends_to: tuple[int, ...]
    """Widths of the text that the UNet's attn2 reads: 2048 in SDXL, 768 in SD 1, 1024 in SD 2."""

    norms: Mapping[str, float]
    """‖ΔW‖ by module, largest first; a number that is not finite comes before all others."""

    formless: tuple[str, ...]
    """Modules without a ΔW: tensors are missing, or their shapes do not go together."""

    not_computed: Mapping[str, str]
    """Method by module, where that is one whose ΔW is not computed, or is not known."""

    too_large: tuple[str, ...]
    """Modules whose ΔW would take too long, or too much memory."""

    not_finite: Mapping[str, int]
    """How many values of a tensor are inf or nan."""

    embeddings: tuple[str, ...]
    """Tensors that are new words of a text encoder."""

    unknown: tuple[str, ...]
    """Tensors that no trainer known here writes. No ΔW holds them."""

    @property
    def total_norm(self) -> float:
        """‖ΔW‖ over all modules."""
        return float(np.sqrt(sum(value**2 for value in self.norms.values())))

    @property
    def data_hash_stated(self) -> str:
        """The header's own `sshs_model_hash`, hex; empty if there is none."""
        return self.metadata.get("sshs_model_hash", "").lower()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not finite becomes its name."""
        values = {one.name: getattr(self, one.name) for one in fields(self)} | {
            "hashes": asdict(self.hashes),
            "total_norm": self.total_norm,
            "data_hash_agrees": self.hashes.data == self.data_hash_stated
            if self.data_hash_stated
            else NOT_STATED,
            "stated": {
                question: NOT_STATED if answer is None else asdict(answer)
                for question, answer in self.stated.items()
            },
        }
        found: dict[str, Any] = finite(values)
        return found


def inspect_adapter(path: Path) -> Inspection:
    """Look at a file.

    Raises:
        UserError: it is missing, cut off, no safetensors file, or of an unknown type of number.
    """
    header, arrays = read_arrays(path)
    found, scales = layout(arrays), read_scales(path, header.metadata)
    methods = {module.name: _method(module, arrays) for module in found.modules}
    computed = [m for m in found.modules if methods[m.name] not in (UNKNOWN, *ELSEWHERE)]
    norms, too_large = _sizes(computed, arrays, scales)
    known = {name: size for name, size in norms.items() if size is not None}
    return Inspection(
        file=str(path),
        bytes=path.stat().st_size,
        hashes=file_hashes(path, header, arrays),
        metadata=header.metadata,
        stated=stated(header.metadata),
        recipe=recipe_of(header.metadata),
        values=sum(values.size for values in arrays.values()),
        dtypes=_counted(entry.dtype for entry in header.entries.values()),
        style=found.style,
        methods=_counted(methods.values()),
        magnitudes=sum(module.has_magnitudes for module in found.modules),
        modules=_by_part(found),
        ranks=_counted(_rank(module, arrays) for module in computed),
        alphas=_counted(_alpha(module, arrays, scales) for module in computed),
        scales=_counted(
            _source(module, scales) for module in computed if _is_scaled(module, arrays, scales)
        ),
        rooted=sum(_is_rooted(module, scales) for module in computed),
        scalars=sum("scalar" in module.tensors for module in computed),
        trouble=scales.trouble,
        attends_to=_text_widths(found, header),
        norms=dict(sorted(known.items(), key=_largest_first)),
        formless=tuple(name for name, size in norms.items() if size is None),
        not_computed={name: way for name, way in methods.items() if way in (UNKNOWN, *ELSEWHERE)},
        too_large=too_large,
        not_finite=_not_finite(arrays),
        embeddings=found.embeddings,
        unknown=found.others,
    )


def _sizes(
    modules: Iterable[Module], arrays: Mapping[str, Array], scales: Scales
) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """‖ΔW‖ by module, and the modules for which that is too much work."""
    norms: dict[str, float | None] = {}
    too_large = []
    for module in modules:
        try:
            norms[module.name] = norm(module, arrays, scales)
        except (TooLargeError, MemoryError):
            too_large.append(module.name)
    return norms, tuple(too_large)


def _method(module: Module, arrays: Mapping[str, Array]) -> str:
    """LyCORIS' BOFT has OFT's name for its blocks, with one axis more."""
    blocks = arrays.get(module.tensors.get("oft_blocks", ""))
    return "BOFT" if blocks is not None and blocks.ndim == BOFT_AXES else module.method


def _is_scaled(module: Module, arrays: Mapping[str, Array], scales: Scales) -> bool:
    """Whether alpha has a say in its ΔW at all."""
    if module.method not in ("LoRA", "LoCon", "LoHa", "LoKr"):
        return False
    return rank(module, arrays) is not None or scales.of(module) is not None


def _is_rooted(module: Module, scales: Scales) -> bool:
    stated = None if "alpha" in module.tensors else scales.of(module)
    return stated is not None and stated.root


def _source(module: Module, scales: Scales) -> str:
    stated = scales.of(module)
    if "alpha" in module.tensors:
        return ".alpha"
    return NOT_STATED if stated is None else stated.source


def _largest_first(item: tuple[str, float]) -> tuple[float, str]:
    name, size = item
    return (-size if np.isfinite(size) else -np.inf, name)


def _counted(values: Any) -> dict[str, int]:
    """How often each comes, the most frequent first."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _by_part(found: Layout) -> dict[str, dict[str, int]]:
    parts: dict[str, Counter[str]] = {}
    for module in found.modules:
        parts.setdefault(module.part, Counter())[module.kind] += 1
    return {part: dict(parts[part]) for part in sorted(parts)}


def _rank(module: Module, arrays: Mapping[str, Array]) -> str:
    if module.method == INCOMPLETE:
        return NOT_STATED
    size = rank(module, arrays)
    return "whole" if size is None else str(size)


def _alpha(module: Module, arrays: Mapping[str, Array], scales: Scales) -> str:
    value = alpha(module, arrays, scales)
    return NOT_STATED if value is None else f"{value:g}"


def _text_widths(found: Layout, header: Header) -> tuple[int, ...]:
    widths = {
        header.entries[module.tensors["down"]].shape[1]
        for module in found.modules
        if "down" in module.tensors
        and module.part == "UNet"
        and module.name.replace(".", "_").endswith(("attn2_to_k", "attn2_to_v"))
        and len(header.entries[module.tensors["down"]].shape) > 1
    }
    return tuple(sorted(widths))


def _not_finite(arrays: Mapping[str, Array]) -> dict[str, int]:
    counts = {name: int(np.count_nonzero(~np.isfinite(v))) for name, v in sorted(arrays.items())}
    return {name: count for name, count in counts.items() if count}

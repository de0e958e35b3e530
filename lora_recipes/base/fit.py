"""Whether a part's weights are exactly those of its configuration. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lora_recipes.errors import Problem
from lora_recipes.text import first_few

SHOWN = 5
"""So many names of weights are shown; a wrong file lacks hundreds."""

FLOATS = ("F16", "BF16", "F32", "F64")
"""Kinds of numbers that weights may be stored as, in safetensors' words."""

OLD_VAE_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
"""How diffusers called the VAE's attention before 0.18; published files still do."""

Shape = tuple[int, ...]


def misfits(
    where: Path, name: str, wanted: Mapping[str, tuple[Shape, ...]], found: Mapping[str, Shape]
) -> list[Problem]:
    """One problem with all that is missing, unexpected or of another shape; none if all fits.

    Args:
        where: the file, for the message.
        name: the part, `unet`, `vae`, `text_encoder` or `text_encoder_2`.
        wanted: for each weight of the configuration, the shapes that are right.
        found: the weights that are there.
    """
    both = wanted.keys() & found.keys()
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    misshapen = sorted(key for key in both if found[key] not in wanted[key])
    if not (missing or unexpected or misshapen):
        return []
    shapes = [f"{key} ({list(found[key])} instead of {list(wanted[key][0])})" for key in misshapen]
    return [
        Problem(
            where=str(where),
            what=f"does not fit the {name} of its configuration"
            + _listed("missing", missing)
            + _listed("unexpected", unexpected)
            + _listed("of another shape", shapes),
            fix="fetch the model again, or choose another base.model",
        )
    ]


def no_floats(where: Path, name: str, kinds: Mapping[str, str]) -> list[Problem]:
    """One problem with the weights that are stored as other numbers; none if all are right.

    Args:
        where: the file, for the message.
        name: the part.
        kinds: for each of its weights, the kind of its numbers, as `FLOATS` has it.
    """
    wrong = sorted(f"{key} ({kind})" for key, kind in kinds.items() if kind not in FLOATS)
    if not wrong:
        return []
    return [
        Problem(
            where=str(where),
            what=f"holds weights of the {name} in numbers that cannot be trained on"
            + _listed("of another kind", wrong),
            allowed=", ".join(FLOATS),
            fix="fetch the model in fp16, bf16 or fp32, or choose another base.model",
        )
    ]


def _listed(fault: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"\n  {len(names)} {fault}:\n    " + first_few(names, SHOWN, "\n    ")

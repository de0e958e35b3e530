"""Texts and values that strangers write, by accident or on purpose."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.property import FORGED, SECRETS

SNIPPETS = (
    "", " ", "\n", "\t", "\0", "\r", "~", "???", "none", "auto", "null", "true", "007", "1e400",
    "0,0002", "1024x1024", "NaN", "-.inf", "0x1f", "1_000", "2001-01-01", "12:30:45",
    f"x\n{FORGED}", f"\r{FORGED}", f"\u2028{FORGED}", f"x\x85{FORGED}", f"\n  {FORGED}",
    "\x1b[2J", "\x9b31m", "\x07", "\u202e", "\ud83d", "\udc00", "a\ud83d\ude00b", "\ufeff", "😀",
    "Füße", "猫", "e\u0301", "\u00e9", "${", "$", "}", "{trigger}", "{", "{class_word}", "%s",
    "%(x)s",
    "${lora.rank}", "${ train.seed }", "${train}", "${.seed}", "${..train.seed}", "\\${x}", "${x}",
    "${oc.env:HF_TOKEN}", "${ oc.env:HF_TOKEN }", "${oc.env:FUZZ_NUMBER}", "${oc.env:${x}}",
    "${oc.decode:${oc.env:FUZZ_NUMBER}}", "${oc.env:NOT_SET,HF_TOKEN}", "${oc.dict.values:train}",
    "${oc.${dataset.trigger}:HF_TOKEN}", "${runtime.workers}", "${runtime}", "${oc.create:{}}",
    "$HF_TOKEN", "!!python/object/apply:os.system [id]", "*a", "&a", "- x", ": ", "#", "'", '"',
    "../../etc/passwd", "/etc/passwd", "/dev/zero", "..", ".", "/", "a/b", "con", "x" * 300,
    "x" * 5000, "9" * 500, "猫" * 200, "%00", "<script>", "[", "]" * 60, "[" * 60,
)  # fmt: skip


@cache
def texts(most: int = 8) -> st.SearchStrategy[str]:
    """Hostile texts, alone and in one another."""
    plain = st.text(st.characters(), max_size=most)
    known = st.sampled_from(SNIPPETS)
    return st.one_of(known, plain, st.builds(str.__add__, known, plain))


@cache
def numbers() -> st.SearchStrategy[Any]:
    """Numbers at the ends of what machines and formats hold."""
    edges = (0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**400, -(2**63))
    odd = (0.0, -0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), 0.1, 1.0)
    return st.one_of(st.sampled_from(edges + odd), st.integers(-10, 5000), st.floats(width=32))


@cache
def values(leaves: int = 6) -> st.SearchStrategy[Any]:
    """Anything that JSON can say."""
    leaf = st.one_of(st.none(), st.booleans(), numbers(), texts())
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(texts(6), inner, max_size=3)
        ),
        max_leaves=leaves,
    )


def as_json(value: Any) -> str:
    """JSON as a careless program writes it: with NaN, and with half of a surrogate pair."""
    return json.dumps(value)


assert not any(secret in snippet for secret in SECRETS.values() for snippet in SNIPPETS)


CUTS = st.lists(
    st.tuples(st.integers(0, 2**20), st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=3
)


@st.composite
def damaged(draw: st.DrawFn, text: str, scraps: tuple[str, ...] = SNIPPETS) -> str:
    """A text in which a few places were cut, doubled, replaced or written into."""
    for place, length, kind in draw(CUTS):
        start = place % (len(text) + 1)
        end = min(len(text), start + length)
        middle = ("", text[start:end] * 2)[kind] if kind < 2 else ""
        if kind > 1:
            middle = draw(_choice(scraps) if kind == 2 else texts(4))
        text = text[:start] + middle + text[end:]
    return text


@cache
def _choice(options: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(options)

"""Hashes and counters: the only sources of identity and of chance in the project."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_bytes(data: bytes) -> str:
    """`sha256:<hex>` of some bytes. The prefix keeps YAML from reading a hash as a number."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON in one spelling: keys sorted, no spaces, no NaN, text as it is (not escaped)."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """`sha256:<hex>` of a value's canonical JSON."""
    return sha256_bytes(canonical_json(value).encode())


def counter(seed: int, purpose: str, *position: int) -> int:
    """A draw in [0, 2**63) that depends on nothing but its arguments.

    Every random decision starts here: one stream per purpose and position, so that switching a
    feature on moves no other draw, and neither workers nor batches nor resumes matter.
    """
    text = "/".join(map(str, (seed, purpose, *position)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

"""Importing large libraries quickly."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_libraries() -> Iterator[None]:
    """Import here without looking for garbage meanwhile, or ever again among what has come.

    torch, Lightning and diffusers make 800,000 objects that stay; going through them as they come,
    again and again, is a tenth of a training's start.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()

"""The order of the files: those that take minutes first.

`--dist loadfile` gives each file to one worker. By itself it begins with the files of the most
tests, and ends with one worker alone in a file of ten tests that each train.
"""

from __future__ import annotations

import pytest

LONGEST = (
    "tests/pipeline/test_edits.py",
    "tests/pipeline/test_reproducible.py",
    "tests/pipeline/test_verify.py",
    "tests/pipeline/",
    "tests/train/",
    "tests/provenance/",
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):  # of pytest-xdist
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(name: str) -> int:
    found = (place for place, start in enumerate(LONGEST) if name.startswith(start))
    return next(found, len(LONGEST))

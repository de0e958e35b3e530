"""While libraries come, nobody looks for garbage; afterwards somebody does again."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from lora_recipes.imports import large_libraries


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_garbage_is_looked_for_again_afterwards_but_not_among_what_came():
    assert gc.isenabled()
    with large_libraries():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_also_after_an_import_that_fails():
    with pytest.raises(ModuleNotFoundError), large_libraries():
        import lora_recipes.no_such_module  # noqa: F401
    assert gc.isenabled()


def test_a_process_that_looks_for_none_goes_on_so():
    gc.disable()
    with large_libraries():
        pass
    assert not gc.isenabled()

"""Kills at many random instants; three chosen ones are among the quick tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kill_table import long_project, page
from .kills import MOMENTS, kill_often, unbroken
from .project import REPOSITORY


@pytest.mark.slow
def test_a_training_killed_at_fifty_random_instants_ends_in_the_same_bytes(tmp_path: Path):
    """Half an hour. Another seed than that of the committed record."""
    project = long_project(tmp_path / "a project")
    reference = unbroken(project)
    kills = list(kill_often(project, reference, count=50, seed=1))
    assert len(kills) >= 50
    assert "writing a checkpoint" in {kill.during for kill in kills}
    assert len([kill for kill in kills if kill.ended]) == kills[-1].chain
    assert reference.files["adapter.safetensors"] in page(kills, reference, 50, 1)


def test_the_committed_record_holds_more_than_fifty_kills_at_every_kind_of_moment():
    text = (REPOSITORY / "docs/kills.md").read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 50
    during = {row[4] for row in rows}
    short = {"writing a checkpoint's note"}  # a hundred bytes: not hit in every record
    assert during >= {*MOMENTS, "DVC starting"} - short
    assert any(moment.startswith("loading") for moment in during)
    assert any(moment.startswith("the steps after") for moment in during)
    ends = {row[6].strip(" |") for row in rows} - {""}
    assert len(ends) == 1, "every chain ended in the same adapter and loss.tsv"
    adapter, loss = ends.pop().split()
    assert f"adapter.safetensors `sha256:{adapter}" in text
    assert f"loss.tsv `sha256:{loss}" in text

"""What `plan` prints of each stage."""

from __future__ import annotations

from lora_recipes.provenance.pipeline import StagePlan


def test_a_stage_with_few_reasons_is_one_line():
    assert str(StagePlan("train", "run", "train.seed")) == "  run     train    train.seed"
    assert str(StagePlan("report", "keep", "")) == "  keep    report"


def test_many_reasons_are_wrapped_below_one_another():
    keys = [f"train.some_key_{number}" for number in range(20)]
    first, *others = str(StagePlan("train", "run", ", ".join(keys))).split("\n")
    assert first.startswith("  run     train    train.some_key_0, ")
    assert len(others) > 2
    assert {line[:19].strip() for line in others} == {""}
    assert max(map(len, [first, *others])) <= 96
    assert ", ".join(keys) == " ".join(line[19:] for line in [first, *others])

"""What `plan` prints of each stage."""

from __future__ import annotations

from lora_recipes.provenance.pipeline import StagePlan, table


def test_stages_with_few_reasons_have_a_line_each():
    plans = [StagePlan("train", "may run", "train.seed"), StagePlan("report", "keep", "")]
    assert table(plans) == ["  may run  train   train.seed", "  keep     report"]


def test_many_reasons_are_wrapped_below_one_another():
    keys = [f"train.some_key_{number}" for number in range(20)]
    (line,) = table([StagePlan("train", "run", ", ".join(keys))])
    first, *others = line.split("\n")
    assert first.startswith("  run  train  train.some_key_0, ")
    assert len(others) > 2
    assert {line[:14].strip() for line in others} == {""}
    assert max(map(len, [first, *others])) <= 96
    assert ", ".join(keys) == " ".join(line[14:] for line in [first, *others])

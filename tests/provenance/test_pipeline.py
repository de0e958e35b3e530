"""What `plan` prints of each stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.errors import CannotTell
from lora_recipes.provenance import pipeline
from lora_recipes.provenance.lock import WAY_BACK
from lora_recipes.provenance.pipeline import StagePlan, dvc_status, stage_plans, table
from lora_recipes.provenance.processes import Done


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


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "it is empty"),
        ("# cut\n", "it is cut off, or was written by something else than DVC"),
        ("schema: '2.0'\n", "no 'stages'"),
        ("schema: '2.0'\nstages:\n", "it is cut off, or was written by something else than DVC"),
        (
            "schema: '2.0'\nstages:\n  train:\n",
            "it is cut off, or was written by something else than DVC",
        ),
    ],
)
def test_a_lock_that_is_not_whole_is_one_message_with_the_way_back(tmp_path: Path, content, what):
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(CannotTell) as caught:
        stage_plans(tmp_path, {})
    assert str(caught.value) == (
        f"dvc.lock: cannot be read: {what}\n"
        "  fix:     `git checkout dvc.lock` brings the committed one back; without one, delete it: "
        "`dvc repro` writes it anew, and takes from its cache what it has made before"
    )


BUSY = """ERROR: '/p/out/loss.tsv' is busy, it is being blocked by:

  (PID 4242): /p/.venv/bin/dvc repro

If there are no processes with such PIDs, you can manually remove '.dvc/tmp/rwlock' and try again.
"""


@pytest.mark.parametrize(
    ("said", "told", "fix"),
    [
        (
            BUSY,
            "'/p/out/loss.tsv' is busy, it is being blocked by:\n"
            "  (PID 4242): /p/.venv/bin/dvc repro\n"
            "  If there are no processes with such PIDs, you can manually remove "
            "'.dvc/tmp/rwlock' and try again.",
            "wait for that command to end",
        ),
        (
            "'./dvc.lock' validation failed.\n\nrequired key not provided, in schema\n",
            "'./dvc.lock' validation failed.\n  required key not provided, in schema",
            WAY_BACK,
        ),
        (
            "ERROR: Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted\n",
            "Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted",
            "delete .dvc/tmp/rwlock, which a killed DVC left, and run this again",
        ),
        ("ERROR: something else\n", "something else", "run `dvc status` to see more"),
    ],
)
def test_dvcs_complaint_is_shown_whole_with_the_advice_for_its_cause(
    tmp_path: Path, monkeypatch, said, told, fix
):
    monkeypatch.setattr(pipeline, "ask", lambda *_: Done(255, "", said))
    with pytest.raises(CannotTell) as caught:
        dvc_status(tmp_path)
    assert str(caught.value) == f"dvc status failed: {told}\n  fix:     {fix}"

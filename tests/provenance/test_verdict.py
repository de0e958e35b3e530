"""The verdict is read at a glance, and nothing that differs is left out."""

from __future__ import annotations

import json
from typing import Any

from lora_recipes.errors import CannotTell, Problem
from lora_recipes.provenance.revision import Revision
from lora_recipes.provenance.verdict import Output, Verdict, cannot_tell

REVISION = Revision("0123456789abcdef", "v1", "tag")
THEN = {"packages": {"torch": "2.13.0"}, "device": "Some CPU", "threads": 1}
SAME = Output("train", "out/adapter.safetensors", "aaaaaaaaaa", "aaaaaaaaaa", True)
FILES = tuple(f"{number}.png" for number in range(7))
OTHER = Output("sample", "out/samples", "bbbbbbbbbb.dir", "cccccccccc.dir", False, "", FILES)
GONE = Output("train", "out/loss.tsv", "dddddddddd", "", False)
PAGE = Output("report", "out/report", "e" * 10, "f" * 10, None, "the page shows the environment")


class Moved:
    def as_dict(self) -> dict[str, Any]:
        return {"differs": 3}

    def table(self) -> str:
        return "3 numbers differ\n  worst: this one"


def test_a_commit_that_is_reproduced_takes_a_line_and_one_for_each_output():
    verdict = Verdict(REVISION, (SAME,), THEN, THEN)
    assert verdict.text() == (
        "reproduced: tag v1 (0123456789) gives the same bytes again (train)\n"
        "  train  out/adapter.safetensors  identical  aaaaaaaa"
    )
    assert verdict.as_dict()["verdict"] == "reproduced"


def test_one_that_is_not_says_what_differs_how_far_and_on_what_it_ran_then_and_now():
    now = {"packages": {"torch": "2.14.0"}, "device": "Some CPU", "cpu_flags": "avx2"}
    verdict = Verdict(
        Revision("0123456789abcdef", "HEAD", "commit"),
        (SAME, GONE, OTHER, PAGE),
        THEN,
        now,
        {"out/adapter.safetensors": Moved()},
        ("look at this",),
    )
    assert verdict.text().splitlines() == [
        "not reproduced: 0123456789: 2 of 3 outputs differ (train, sample, report)",
        "  train   out/adapter.safetensors  identical  aaaaaaaa",
        "  train   out/loss.tsv             DIFFERS    dddddddd -> nothing",
        "  sample  out/samples              DIFFERS    bbbbbbbb -> cccccccc"
        "  in 0.png, 1.png, 2.png, 3.png, 4.png and 2 more",
        "  report  out/report               not compared: the page shows the environment",
        "",
        "drift of out/adapter.safetensors",
        "  3 numbers differ",
        "    worst: this one",
        "",
        "  environment     then      now",
        "* packages.torch  2.13.0    2.14.0",
        "  device          Some CPU  same",
        "* threads         1         –",
        "* cpu_flags       –         avx2",
        "",
        "note: look at this",
    ]
    values = json.loads(json.dumps(verdict.as_dict()))
    assert values["verdict"] == "not reproduced"
    assert values["environment"]["differs"] == ["packages.torch", "threads", "cpu_flags"]
    assert values["drift"] == {"out/adapter.safetensors": {"differs": 3}}
    assert [output["same"] for output in values["outputs"]] == [True, False, False, None]
    assert values["notes"] == ["look at this"]


def test_where_the_environment_is_another_but_the_bytes_are_not_the_table_still_shows_it():
    text = Verdict(REVISION, (SAME,), THEN, THEN | {"threads": 2}).text()
    assert text.startswith("reproduced: ")
    assert "* threads         1         2" in text.splitlines()


def test_a_commit_that_recorded_no_environment_is_said_to_have_none():
    text = Verdict(REVISION, (GONE,), {}, {}).text()
    assert text.splitlines()[-1] == "environment: the commit does not say on what it was trained"


def test_why_it_cannot_be_told_is_data_too():
    error = CannotTell(Problem(where="a", what="b", allowed="c", fix="d"))
    assert cannot_tell("v1", error) == {
        "verdict": "cannot tell",
        "name": "v1",
        "problems": [{"where": "a", "what": "b", "allowed": "c", "fix": "d"}],
    }

"""Results are only ever added, and the table is what the files give."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import machine, results
from benchmarks.results import Result

RESULT = Result(
    "quick",
    {"rounds": 7},
    [{"command": "plan", "CPU s": 1.08}, {"command": "dvc", "CPU s": 12.345, "met": False}],
    ["bad: dvc"],
    {"cpu_seconds": {"plan": [1.08]}},
)


def test_a_second_result_of_a_day_does_not_replace_the_first(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "today", lambda: "2030-01-31")
    first, second = (results.save(RESULT, tmp_path) for _ in range(2))
    assert (first.name, second.name) == ("2030-01-31-quick.json", "2030-01-31-quick-2.json")
    assert json.loads(first.read_text())["raw"] == {"cpu_seconds": {"plan": [1.08]}}


def test_a_result_names_machine_versions_and_commit_but_no_host_user_or_path(tmp_path: Path):
    text = results.save(RESULT, tmp_path).read_text()
    on = json.loads(text)["machine"]
    assert set(on) >= {"cpu", "cores", "memory_GiB", "load", "python", "packages", "commit"}
    assert on["packages"]["torch"] != "not installed"
    assert str(Path.home()) not in text
    assert str(machine.REPOSITORY) not in text


def test_rows_become_a_table_with_a_dash_where_a_row_says_nothing():
    assert results.table(RESULT.rows) == (
        "| command | CPU s | met |\n| --- | --- | --- |\n"
        "| plan | 1.080 | – |\n| dvc | 12.3 | no |\n"
    )  # fmt: skip


def test_the_document_holds_every_file_with_its_notes(tmp_path: Path):
    results.save(RESULT, tmp_path)
    results.save(Result("meta", {}, [{"case": "a", "operations": 59592}]), tmp_path)
    text = results.document(tmp_path)
    assert text.count("\n## ") == 2
    assert "- bad: dvc\n" in text
    assert "| a | 59,592 |" in text


def test_the_committed_table_is_what_the_committed_files_give():
    assert list(results.FOLDER.glob("*.json"))
    assert results.TABLE.read_text("utf-8") == results.document()

"""Whatever a stranger wrote, the terminal gets text: every command, errors and --json too."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from lora_recipes.console import RichReporter
from lora_recipes.printable import Printable, json_text, line, printable

REPOSITORY = Path(__file__).resolve().parents[1]
HOSTILE = "x\x1b[2J\x07\x9b31m\u202e\ud83d\r\x00"


def steers(text: str) -> list[str]:
    """The characters of a text that no terminal should get."""
    left = "\n\t\u200c\u200d"
    bad = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [c for c in text if unicodedata.category(c) in bad and c not in left]


def run(root: Path, *arguments: str) -> tuple[int, str]:
    """A command as the user calls it: its exit code, and all that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "lora_recipes", *arguments],
        cwd=root,
        env={"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    text = done.stdout.decode("utf-8")
    assert not steers(text), text
    assert "Traceback" not in text
    return done.returncode, text


def adapter(
    path: Path, name: str, metadata: dict[str, str] | None = None, dtype: str = "F32"
) -> Path:
    """A file with one tensor."""
    header = {name: {"dtype": dtype, "shape": [2, 2], "data_offsets": [0, 16]}}
    text = json.dumps({"__metadata__": metadata, **header} if metadata else header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(range(16)))
    return path


def test_every_character_that_steers_is_escaped_and_no_letter_is():
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not steers(printable(every))
    assert not steers(line(every, len(every)).replace("\\n", ""))
    assert "\n" not in line(every, len(every))
    for text in ("Füße 猫 😀 👩‍👧 ДА می‌خواهم\n\tzwei\u202fUhr", "plain"):
        assert printable(text) == text


def test_json_is_the_same_value_and_printable():
    every = "".join(map(chr, range(0x3000))) + "\ud83d \U000e0041 😀"
    text = json_text({every: [every, 1.5, None]})
    assert json.loads(text) == {every: [every, 1.5, None]}
    assert not steers(text)


def test_diff_gives_json_of_headers_whose_fields_hold_no_numbers(tmp_path: Path):
    stated = {"lora_recipes.train": '{"x": NaN, "y": [1e999, -Infinity]}'}
    one = adapter(tmp_path / "a.safetensors", "x.diff", stated)
    two = adapter(tmp_path / "b.safetensors", "x.diff", {"lora_recipes.train": '{"x": 1}'})
    code, text = run(tmp_path, "diff", str(one), str(two), "--json")
    assert code == 0
    assert json.loads(text)["recipe"] == {
        "train.x": {"before": "nan", "after": 1},
        "train.y": {"before": ["inf", "-inf"], "after": None},
    }


def test_a_stream_escapes_what_its_encoding_does_not_have():
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print("ΔW → \x1b", file=Printable(raw))
    raw.flush()
    assert raw.buffer.getvalue() == b"\\u0394W \\u2192 \\x1b\n"  # type: ignore[attr-defined]


def test_messages_above_a_bar_are_printable_and_the_bar_still_draws(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    report = RichReporter()
    report._console._force_terminal = True
    with report.bar(f"work {HOSTILE}", 2) as bar:
        report.say(f"said {HOSTILE}")
        report.warn(f"warned {HOSTILE}")
        bar.advance(1, name=HOSTILE)
    text = written.getvalue()
    assert "\x1b[2J" not in text
    assert "\x9b" not in text
    assert r"said x\x1b[2J\x07\x9b31m\u202e\ud83d\r\x00" in text


def test_a_hostile_name_and_header_are_shown_as_escapes_by_inspect_and_diff(tmp_path: Path):
    one = adapter(tmp_path / "a.safetensors", f"{HOSTILE}.lora_up.weight",
                  {"modelspec.title": HOSTILE, f"key{HOSTILE}\nnot finite": HOSTILE})  # fmt: skip
    two = adapter(tmp_path / "b.safetensors", f"\n{HOSTILE}", {"ss_output_name": HOSTILE})
    code, text = run(tmp_path, "inspect", str(one))
    assert code == 0
    assert r"x\x1b[2J\x07\x9b31m\u202e\ud83d\r\x00: tensors are missing or do not fit" in text
    assert r"\nnot finite" in text
    code, text = run(tmp_path, "inspect", str(one), "--json")
    assert code == 0
    assert json.loads(text)["metadata"]["modelspec.title"] == HOSTILE
    assert run(tmp_path, "inspect", str(two))[0] == 0
    for arguments in ((), ("--json",)):
        code, text = run(tmp_path, "diff", str(one), str(two), *arguments)
        assert code == 0
        assert r"key" in text
        assert "\nnot finite" not in text.replace("\n  ", "\n")
    assert json.loads(text)["tensors"]["only_after"] == [f"\n{HOSTILE}"]


def test_an_error_about_a_hostile_file_is_printable(tmp_path: Path):
    path = adapter(tmp_path / "a.safetensors", f"a\n{HOSTILE}", dtype=HOSTILE)
    code, text = run(tmp_path, "inspect", str(path))
    assert code == 1
    assert r"tensor a\nx\x1b[2J" in text
    assert run(tmp_path, "inspect", "\x1b[2J.safetensors")[0] == 1
    assert run(tmp_path, "explain", "\x1b[2J")[0] == 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("params.yaml", "recipes", "requirements.lock", "data/demo"):
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, tmp_path / name)
        else:
            shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_a_hostile_key_of_a_recipe_is_shown_as_escapes_by_validate(project: Path):
    with (project / "params.yaml").open("a") as file:
        file.write('"\\e[2Jx\\x9b\\u202e": 1\n')
    code, text = run(project, "validate")
    assert code == 1
    assert r"\x1b[2Jx\x9b\u202e" in text


def test_a_hostile_name_of_a_picture_is_shown_as_escapes_by_the_stage(project: Path):
    (project / "data/demo/\x1b[2Jz\u202e.png").touch()
    (project / "data/demo/\x9by.png").touch()
    shutil.copy(REPOSITORY / "resolved.yaml", project / "resolved.yaml")
    code, text = run(project, "stage", "dataset")
    assert code == 1
    assert r"data/demo/\x1b[2Jz\u202e.png: is empty" in text


def test_the_difference_of_headers_without_end_is_cut_and_counted(tmp_path: Path):
    one = adapter(
        tmp_path / "a.safetensors", "x.diff", {f"f{n}": "y" * 20_000 for n in range(1500)}
    )
    two = adapter(tmp_path / "b.safetensors", "x.diff", {"a": "b"})
    code, text = run(tmp_path, "diff", str(one), str(two))
    assert code == 0
    assert "  and 501 more; `--json` has all\n" in text
    assert max(map(len, text.splitlines())) < 11_000

"""The shipped demo folders hold what the code draws."""

from __future__ import annotations

from pathlib import Path

from pocket_training import demo

DATA = Path(__file__).resolve().parents[2] / "data"


def test_the_shipped_demo_pictures_are_what_the_code_draws():
    assert sorted(p.name for p in (DATA / "demo").iterdir() if p.suffix == ".png")
    assert demo.differences(DATA) == []


def test_drawing_twice_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        demo.write(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 40
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_check_names_a_changed_picture_and_a_missing_caption(tmp_path, capsys):
    demo.write(tmp_path)
    (tmp_path / "demo" / "03.txt").unlink()
    (tmp_path / "demo" / "05.png").write_bytes((tmp_path / "demo" / "06.png").read_bytes())
    assert demo.main(["--data", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'demo/03.txt'}: not what this code draws",
        f"{tmp_path / 'demo/05.png'}: not what this code draws",
    ]

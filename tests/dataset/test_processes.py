"""Several processes give what one gives, and leave nothing behind however they end."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.dataset import examine, prepare, processes
from lora_recipes.dataset.build import build
from lora_recipes.dataset.manifest import Manifest
from lora_recipes.dataset.prepare import prepare as run_prepare
from lora_recipes.dataset.processes import in_order, worth_having
from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Quiet
from tests.dataset.pictures import data_of, files_under, photo, put

REPOSITORY = Path(__file__).resolve().parents[2]
MEGA = 1_000_000


@pytest.mark.parametrize(
    ("pixels", "cores", "expected"),
    [
        ([], 4, 1),
        ([0, 0], 4, 1),
        ([MEGA] * 8, 4, 1),  # little work
        ([12 * MEGA] * 1000, 1, 1),
        ([12 * MEGA] * 1000, 2, 2),
        ([12 * MEGA] * 1000, 64, 8),
        ([12 * MEGA] * 50, 64, 4),  # 600 megapixels
        ([12 * MEGA] * 1000 + [60 * MEGA], 64, 2),  # two of the largest fit in memory
        ([12 * MEGA] * 1000 + [170 * MEGA], 64, 1),
    ],
)
def test_there_are_as_many_processes_as_pay_and_fit(monkeypatch, pixels, cores, expected):
    monkeypatch.setattr(processes, "cores", lambda: cores)
    assert worth_having(pixels) == expected


def square(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (number % 3))  # later ones end first
    return number**2, os.getpid()


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_order_from_so_many_processes(count):
    with in_order(square, range(9), count) as results:
        squares, pids = zip(*results, strict=True)
    assert squares == tuple(n**2 for n in range(9))
    assert (os.getpid() in pids) == (count == 1)
    assert multiprocessing.active_children() == []


def refuse(number: int) -> int:
    if number == 1:
        time.sleep(0.3)  # number 2 fails first, but its turn is later
    if number:
        raise UserError([Problem(where=f"{number}.png", what="is odd", fix="turn it")])
    return number


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_error_in_order_reaches_the_caller_as_it_is(count):
    done: list[int] = []
    with pytest.raises(UserError) as caught, in_order(refuse, range(20), count) as results:
        done.extend(results)
    assert done == [0]
    assert caught.value.problems == (Problem(where="1.png", what="is odd", fix="turn it"),)
    assert str(caught.value) == "1.png: is odd\n  fix:     turn it"
    assert multiprocessing.active_children() == []


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_process_ends_the_work_with_one_message():
    with pytest.raises(UserError) as caught, in_order(die, range(9), 2) as results:
        list(results)
    assert str(caught.value) == (
        "one of 2 processes that read pictures was killed\n"
        "  fix:     free some memory, then run it again"
    )
    assert multiprocessing.active_children() == []


def linger(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(1)


LINGER = """
import signal
import sys
from pathlib import Path
from lora_recipes.dataset.processes import in_order
from tests.dataset.test_processes import linger
if __name__ == "__main__":
    # a shell's background job, as these tests may be, ignores Ctrl-C, and so do its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    files = [Path(sys.argv[1], str(number)) for number in range(500)]
    try:
        with in_order(linger, files, 2) as results:
            list(results)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_ctrl_c_and_a_killed_parent_leave_no_process_behind(tmp_path, end):
    script = tmp_path / "script.py"
    script.write_text(LINGER)
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(pids)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _until(lambda: len(_pids(pids)) >= 2)
        if end == signal.SIGINT:
            os.killpg(parent.pid, end)  # a terminal sends it to the children too
        else:
            parent.kill()
        _, stderr = parent.communicate(timeout=20)
        if end == signal.SIGINT:
            assert stderr == "stopped\n", "the children say nothing"
        _until(lambda: not any(map(_alive, _pids(pids))))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()


def _pids(folder: Path) -> set[int]:
    return {int(text) for file in folder.iterdir() if (text := file.read_text())}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        put(tmp_path / "data", f"{number}.jpg", data_of(photo(90, 70, number), "JPEG"))
    put(tmp_path / "data", "sub/deep.png", photo(70, 70, 9))
    return tmp_path / "data"


def use(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for module in (examine, prepare):
        monkeypatch.setattr(module, "worth_having", lambda pixels: count)


def look(folder: Path, cache: str) -> Manifest:
    return build(folder, Dataset(trigger="zwk"), folder.parent / cache, Quiet())


def test_one_and_two_processes_write_the_same_bytes(folder, monkeypatch):
    found: list[Any] = []
    for count in (1, 2):
        use(monkeypatch, count)
        manifest = look(folder, f"{count}.json")
        out = folder.parent / f"out{count}"
        run_prepare(folder, manifest.listed(), Prepare(resolution=64, crop="random"), out, Quiet())
        found.append((manifest, {name: (out / name).read_bytes() for name in files_under(out)}))
    assert found[0] == found[1]
    assert len(found[0][1]) == 6
    assert len(json.loads(found[0][1]["index.json"])["images"]) == 5


def test_damaged_pictures_are_named_by_two_processes_as_by_one(folder, monkeypatch):
    put(folder, "1.jpg", b"\xff\xd8\xff cut")
    put(folder, "3.jpg", b"")
    told = []
    for count in (1, 2):
        use(monkeypatch, count)
        with pytest.raises(UserError) as caught:
            look(folder, f"{count}.json")
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert told[0].startswith("data/1.jpg: is a damaged JPEG")
    assert "data/3.jpg: is empty (0 bytes)" in told[0]


def test_a_file_that_changed_is_named_by_another_process_and_nothing_stays(folder, monkeypatch):
    use(monkeypatch, 2)
    manifest = look(folder, "cache.json")
    put(folder, "2.jpg", data_of(photo(90, 70, 7), "JPEG"))
    out = folder.parent / "out"
    with pytest.raises(UserError) as caught:
        run_prepare(folder, manifest.listed(), Prepare(resolution=64, crop="center"), out, Quiet())
    assert str(caught.value) == (
        "data/2.jpg: changed since the dataset stage looked\n"
        "  fix:     run `dvc repro`, which looks again"
    )
    assert not out.exists()

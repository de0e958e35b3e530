"""Ctrl-C and SIGTERM: the step is finished, a checkpoint written, and the run ends in its bytes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.reporting import NoBar, Quiet
from lora_recipes.stopping import WISHES, Stopped, at_once, when_asked
from lora_recipes.train.checkpoints import checkpoints_folder
from lora_recipes.train.validation import change
from tests.train.processes import as_torchrun, together
from tests.train.project import contents, make_project, run_stage
from tests.train.test_distributed import ROLES, SETTINGS

REPOSITORY = Path(__file__).resolve().parents[2]
SOON = "stopping soon, with a checkpoint; Ctrl-C again stops at once"


@pytest.fixture(scope="module", autouse=True)
def own_environment() -> Iterator[None]:
    """As in the foreground: what `&` and `nohup` let these tests ignore, they and theirs heed."""
    heeding = {number: signal.SIG_DFL for number in WISHES}
    heeding[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in heeding.items()}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("DVC_ROOT", "LORA_RECIPES_CHECKPOINTS"):
                patch.delenv(name, raising=False)
            yield
        assert {number: signal.getsignal(number) for number in WISHES} == heeding
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = project(tmp_path_factory.mktemp("unbroken"))
    said = run_stage(root).said
    assert re.fullmatch(r"against the base alone: held-out loss [+-]\d+%", said[-2])
    return contents(root)


def project(root: Path, **runtime: Any) -> Path:
    """A training of 4 steps, whose checkpoints come after none of them by themselves."""
    chosen = {"checkpoint_every": 1000, "log_every": 1, **runtime}
    return make_project(root, SETTINGS, chosen, roles=ROLES)


class Asking(Quiet):
    """A reporter that sends this process signals at its news of a step."""

    def __init__(self, step: int, *signals: int) -> None:
        super().__init__()
        self.step, self.signals = step, signals

    def bar(self, title: str, total: int, done: int = 0) -> Any:
        outer = self

        class Sending(NoBar):
            reached = done

            def advance(self, count: float = 1, **figures: float | str) -> None:
                self.reached += count
                if self.reached == outer.step:
                    for number in outer.signals:
                        signal.raise_signal(number)

            def __enter__(self) -> Sending:
                return self

            def __exit__(self, *_: object) -> None:
                pass

        return Sending()


@pytest.mark.parametrize(
    ("step", "number"), [(1, signal.SIGINT), (3, signal.SIGTERM), (2, signal.SIGHUP)]
)
def test_asked_to_stop_it_ends_the_step_writes_a_checkpoint_and_resumes_to_the_same_bytes(
    tmp_path: Path, unbroken: dict[str, bytes], number: int, step: int
):
    root = project(tmp_path)
    report = Asking(step, number)
    with pytest.raises(Stopped) as stopped:
        run_stage(root, report)
    # asked between a step and the look at whether to go on: one step more
    done = step + 1
    assert (stopped.value.number, stopped.value.done, stopped.value.steps) == (number, done, 4)
    assert report.said == [SOON]
    assert contents(root) == {}
    (state,) = checkpoints_folder(root).glob("*/*.ckpt")
    assert state.name == f"step-{done:06d}.ckpt"
    assert run_stage(root).said[0] == f"resuming after step {done} of 4"
    assert contents(root) == unbroken


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (
            {
                "heldout_loss_base": 0.1,
                "heldout_loss": 0.013,
                "control_loss_base": 0.2,
                "control_loss": 0.74,
            },
            "held-out loss -87%, control loss +270%",
        ),
        ({"loss_last": 1, "control_loss_base": 0.2, "control_loss": 0.2}, "control loss +0%"),
        ({"heldout_loss_base": 0.0, "heldout_loss": 0.2}, "no change known"),
    ],
)
def test_the_end_of_a_training_says_what_it_did_to_other_pictures(figures: Any, told: str):
    assert change(figures) == f"against the base alone: {told}"


def test_a_second_ctrl_c_stops_at_once_and_leaves_nothing_half_written(tmp_path: Path):
    root = project(tmp_path)
    with pytest.raises(Stopped) as stopped:
        run_stage(root, Asking(2, signal.SIGINT, signal.SIGINT))
    assert stopped.value.steps == 0, "nothing was kept"
    assert contents(root) == {}
    assert not list(checkpoints_folder(root).iterdir())


def test_several_sigterms_are_one_wish(tmp_path: Path):
    """`timeout` and a cluster's scheduler send it to a group and to its leader."""
    with pytest.raises(Stopped) as stopped:
        run_stage(project(tmp_path), Asking(2, signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
    assert stopped.value.number == signal.SIGTERM
    assert stopped.value.done == 3


def ask_one(root: Path, rank: str, number: int) -> Any:
    """As `train`, but one process is asked to stop at the news of step 1; how it ended."""
    mine = os.environ["RANK"] == rank
    try:
        return run_stage(root, Asking(1, number) if mine else None).said
    except Stopped as stopped:
        return stopped.args


def test_of_several_processes_all_stop_after_the_same_step(
    tmp_path: Path, unbroken: dict[str, bytes]
):
    root = project(tmp_path, log_every=2)
    found = together(as_torchrun(4), ask_one, root, "0", signal.SIGTERM)
    assert found == [(signal.SIGTERM, 2, 4), [], [], []]
    assert contents(root) == {}
    said = together(as_torchrun(2), ask_one, root, "none", 0)[0]
    assert said[0] == "resuming after step 2 of 4"
    assert contents(root) == unbroken


def test_a_signal_that_is_ignored_stays_ignored():
    """As in `dvc repro &` of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with when_asked() as asked, at_once():
            signal.raise_signal(signal.SIGINT)
        assert asked.number == 0
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("around", [at_once, when_asked])
def test_outside_of_the_main_thread_nothing_is_changed(around: Callable[[], Any]):
    from concurrent.futures import ThreadPoolExecutor

    def look() -> Any:
        with around():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(look).result() == signal.getsignal(signal.SIGTERM)


WAITING = """
import os, signal, sys, time
from lora_recipes import cli
from lora_recipes.stages import resolve

def run(root, report):
    report.say("here")
    time.sleep(60)

resolve.run = run
sys.argv = ["lora-recipes", "stage", "resolve"]
sys.exit(cli.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_another_stage_stops_with_one_line(tmp_path: Path, number: int):
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "here\n"
        process.send_signal(number)
        assert process.stderr.read() == "stopped; `dvc repro` resumes\n"
    assert process.returncode == 128 + number


GROUP = """
import os, signal, sys
from pathlib import Path
from tests.train.test_stopping import Asking, Stopped, run_stage

signal.raise_signal = lambda number: os.killpg(0, number)
try:
    run_stage(Path(sys.argv[1]), Asking(2, signal.SIGINT, signal.SIGTERM))
except Stopped as stopped:
    print(stopped.args)
"""


def test_a_signal_to_the_whole_group_leaves_those_that_read_ahead_at_work(
    tmp_path: Path, unbroken: dict[str, bytes]
):
    """As a terminal's Ctrl-C and a shutdown send it; by step 2 both have begun to read."""
    root = project(tmp_path, workers=2)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GROUP, str(root)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (done.stdout, done.stderr) == (f"({signal.SIGINT:d}, 3, 4)\n", "")
    assert run_stage(root).said[0] == "resuming after step 3 of 4"
    assert contents(root) == unbroken

"""Progress and messages as the user sees them."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from lora_recipes import console

FIGURES = "epoch 1/2 · loss 0.1000 · learning rate 0.002 · speed 9.00 samples/s"


def test_a_log_gets_messages_at_once_and_progress_now_and_then(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    report = console.PlainReporter(log)
    report.say("hello")
    report.warn("look")
    with report.bar("train", 40) as bar:
        for _ in range(4):
            bar.advance(10, epoch="1/2", loss=0.1, learning_rate=0.002, speed=9.0)
    assert log.getvalue().splitlines() == [
        "hello",
        "warning: look",
        f"train 20/40 · {FIGURES} · 6 s left",
        f"train 40/40 · {FIGURES} · 0 s left",
    ]


def test_parts_of_a_unit_count_and_the_last_figures_stay(monkeypatch: pytest.MonkeyPatch):
    clock = iter(float(second) for second in range(0, 1000, 5))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    with console.PlainReporter(log).bar("generate images", 2) as bar:
        bar.advance(1 / 20, loss=0.1)
        for _ in range(19):
            bar.advance(1 / 20)
    lines = log.getvalue().splitlines()
    assert lines[0] == "generate images 0/2 · loss 0.1000 · 195 s left"
    assert lines[18].startswith("generate images 0/2 · loss 0.1000 · ")
    assert lines[19] == "generate images 1/2 · loss 0.1000 · 100 s left"


def test_a_resumed_run_estimates_from_its_own_speed(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    with console.PlainReporter(log).bar("train", 100, done=80) as bar:
        bar.advance(10)
    assert log.getvalue() == "train 90/100 · 10 s left\n"


@pytest.mark.parametrize(
    ("progress", "kind"),
    [("bar", "RichReporter"), ("plain", "PlainReporter"), ("off", "SilentBarReporter"),
     ("auto", "PlainReporter")],
)  # fmt: skip
def test_the_runtime_setting_chooses_the_reporter(progress: str, kind: str):
    assert type(console.reporter(progress)).__name__ == kind


WIDTHS = (40, 60, 80, 100, 120, 200)


def drawn(
    width: int, done: int = 120, total: int = 720, title: str = "train", seconds: int = 1
) -> str:
    """The one line that a bar is on a terminal of so many columns, halfway, with its figures."""
    screen = io.StringIO()
    terminal = Console(file=screen, width=width, force_terminal=True, color_system=None)
    clock = iter(range(0, 10_000, seconds))
    progress = Progress(
        *console._columns(), console=terminal, expand=True, get_time=lambda: next(clock),
        speed_estimate_period=console.ESTIMATED_OVER,
    )  # fmt: skip
    bar = console.RichBar(progress, progress.add_task(title, total=total, figures=""))
    for _ in range(done):
        bar.advance(epoch="1/2", loss=0.1, learning_rate=0.002, speed=9.0)
    terminal.print(progress.get_renderable())
    (text,) = screen.getvalue().splitlines()
    return text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_bar_is_whole_on_narrow_and_wide_terminals(width: int):
    text = drawn(width)
    assert len(text) == width
    assert re.match(r"train ━━[━╸][╸ ]\s+120/720 0:\d\d:\d\d ", text)
    if width >= 120:
        assert text.rstrip().endswith(f" {FIGURES}")
    else:
        assert text.rstrip().endswith("…")


@pytest.mark.parametrize("title", ["read pictures", "prepare pictures", "generate images"])
def test_the_longest_title_leaves_room_for_the_bar_on_forty_columns(title: str):
    assert re.match(rf"{title} ━━━[ ━╸]+ 900/1040 0:\d\d:\d\d", drawn(40, 900, 1040, title))


@pytest.mark.parametrize("width", [0, 1, 2, 5, 10, 20, 39])
def test_a_terminal_that_is_too_narrow_cuts_the_line(width: int):
    assert len(drawn(max(width, 1))) <= max(width, 1)


def test_a_step_of_minutes_still_has_a_time_left():
    assert re.match(r"train ━[━╸ ]+ 5/60 \d:\d\d:\d\d", drawn(80, 5, 60, seconds=120))


def test_text_that_others_print_during_a_bar_is_printable(monkeypatch: pytest.MonkeyPatch):
    """rich takes sys.stdout and sys.stderr while it draws, and writes what comes itself."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    report = console.RichReporter()
    report._console._force_terminal = True
    with report.loading("a library"):
        print("one \x1b]0;x\x07\x9b2J", file=sys.stderr)
    with report.bar("train", 2):
        print("two \x1b]0;x\x07\x9b2J", file=sys.stderr)
        print("three \x1b[2J\u202e")
        report.say("four a:cat: [b]")
    assert sys.stderr is screen
    shown = screen.getvalue()
    assert r"one \x1b]0;x\x07\x9b2J" in shown
    assert r"two \x1b]0;x\x07\x9b2J" in shown
    assert r"three \x1b[2J\u202e" in shown
    assert "four a:cat: [b]" in shown
    steering = ("\x1b]0", "\x07", "\x9b", "\x1b[2J", "\u202e")
    assert [code for code in steering if code in shown] == []


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_draw_gets_lines(term: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert type(console.reporter()) is console.RichReporter
    monkeypatch.setenv("TERM", term)
    assert type(console.reporter()) is console.PlainReporter


def test_what_is_loaded_is_said_while_it_loads():
    log = io.StringIO()
    with console.PlainReporter(log).loading("the UNet of pocket"):
        assert log.getvalue() == "loading the UNet of pocket\n"


def test_lines_of_progress_of_another_process_move_a_bar(monkeypatch: pytest.MonkeyPatch):
    """What `verify` passes on, from this commit's stages and older ones'."""
    screen = io.StringIO()
    terminal = Console(file=screen, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with console.follower("auto") as report:
        report.say("Running stage 'train':")
        report.say(f"train 20/40 · {FIGURES} · 6 s left")
        bar = report._bar
        report.say("train 30/40 · 4 s left")
        assert report._bar is bar, "one bar moves"
        assert bar._progress.tasks[0].completed == 30
        report.say("trained 40 steps in 9 s")
        assert report._bar is None
        report.say("train 1/2 · 3 s left")
    shown = screen.getvalue()
    assert "Running stage 'train':\n" in shown
    assert "trained 40 steps in 9 s\n" in shown
    assert "s left" not in shown, "the lines themselves are not printed"
    assert "20/40" in shown


def test_elsewhere_the_lines_are_passed_on_as_they_are(capsys: pytest.CaptureFixture[str]):
    with console.follower("auto") as report:
        report.say("train 30/40 · 4 s left")
    assert capsys.readouterr().err == "train 30/40 · 4 s left\n"


def test_a_bar_on_a_terminal_shows_step_loss_and_rate(capsys: pytest.CaptureFixture[str]):
    report = console.RichReporter()
    report.say("[bold] stays as it is")
    with report.bar("train", 4) as bar:
        bar.advance(4, epoch="1/1", loss=0.1234, learning_rate=0.002)
    shown = capsys.readouterr().err
    assert "[bold] stays as it is" in shown
    assert "4/4" in shown
    assert "train" in shown

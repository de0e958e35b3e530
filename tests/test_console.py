"""Progress and messages as the user sees them."""

from __future__ import annotations

import io

import pytest

from lora_recipes import console


def test_a_log_gets_messages_at_once_and_progress_now_and_then(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    report = console.PlainReporter(log)
    report.say("hello")
    report.warn("look")
    with report.bar("train", 40) as bar:
        for _ in range(4):
            bar.advance(10, epoch="1/2", loss="0.1", learning_rate="0.002", speed="9 samples/s")
    assert log.getvalue().splitlines() == [
        "hello",
        "warning: look",
        "train 20/40 · epoch 1/2 · loss 0.1 · learning rate 0.002 · speed 9 samples/s · 6 s left",
        "train 40/40 · epoch 1/2 · loss 0.1 · learning rate 0.002 · speed 9 samples/s · 0 s left",
    ]


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


def test_a_bar_on_a_terminal_shows_step_loss_and_rate(capsys: pytest.CaptureFixture[str]):
    report = console.RichReporter()
    report.say("[bold] stays as it is")
    with report.bar("train", 4) as bar:
        bar.advance(4, epoch="1/1", loss="0.1234", learning_rate="0.002")
    shown = capsys.readouterr().err
    assert "[bold] stays as it is" in shown
    assert "4/4" in shown
    assert "train" in shown

"""The demo's judge counts pictures and says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

from pocket_training import world
from pocket_training.demo import draw_subject
from pocket_training.evaluate import EVALUATION_PROMPTS, Figures, figures, verdict
from pocket_training.world import Place


def samples(folder: Path, learned: bool) -> Path:
    folder.mkdir()
    pictures = []
    for number, (prompt, colour) in enumerate(EVALUATION_PROMPTS):
        for adapter in ("none", "final"):
            if adapter == "final" and learned:
                image = draw_subject(colour, "plain", Place(0.5, 0.5, 0.25, 0.0))
            else:
                image = world.draw(number)[0]
            file = f"{number}-{adapter}.png"
            image.save(folder / file)
            pictures.append({"file": file, "prompt": prompt, "adapter": adapter, "seed": 0})
    (folder / "index.json").write_text(json.dumps({"pictures": pictures}))
    return folder


def test_drawn_toys_on_the_asked_backgrounds_pass(tmp_path: Path):
    folder = samples(tmp_path / "samples", learned=True)
    assert figures(folder, "final") == Figures(len(EVALUATION_PROMPTS), 1.0, 1.0)
    assert figures(folder, "none").subject == 0
    assert verdict(figures(folder, "none"), figures(folder, "final")) == []


def test_ordinary_pictures_are_not_taken_for_the_toy(tmp_path: Path):
    folder = samples(tmp_path / "samples", learned=False)
    assert figures(folder, "final").subject == 0
    missing = verdict(figures(folder, "none"), figures(folder, "final"))
    assert "the subject in at least 80% with the adapter" in missing


def test_each_promise_is_missed_by_its_own_name():
    good, count = Figures(18, 1.0, 1.0), len(EVALUATION_PROMPTS)
    assert verdict(Figures(count, 0.2, 1.0), good) == ["the subject in at most 10% without it"]
    assert verdict(Figures(count, 0, 1.0), Figures(count, 1.0, 0.5)) == [
        "the asked background in at least 70%"
    ]
    assert verdict(Figures(0, 0, 0), good) == [f"pictures of all {count} evaluation prompts"]

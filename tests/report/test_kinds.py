"""The page of each kind of run: what it says first, what it advises, what it leaves out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.report.advice import advice
from lora_recipes.report.inputs import Inputs, read
from lora_recipes.report.page import page
from tests.report.project import Made
from tests.report.test_templates import Read

OWN = {f"{n:02}.jpg": ("train", f"a photo of a zwk clock, {n}") for n in range(1, 7)}


def demo() -> Made:
    """The pocket on the data that ship with it: held out, control, snapshots, two dozen prompts."""
    subject = tuple(f"a zwk toy, number {n}" for n in range(8))
    made = Made(prompts=(*subject, "a red circle", "a green star", "a blue ring"), steps=40)
    made.resolved |= {"data": "data/demo", "overridden": {}}
    made.resolved["base"] = {"model": "pocket", "revision": "4" * 40}
    made.resolved["sample"]["seeds"] = [0]
    made.losses = {
        "heldout": {"base": 0.3, "adapter": 0.04},
        "control": {"base": 0.02, "adapter": 0.07},
    }
    made.losses_of_steps = [0.2 - 0.004 * step for step in range(40)]
    made.losses_of_steps[20] = 5.0
    made.snapshot_losses = {
        "step-000010": {"heldout": 0.03, "control": 0.05},
        "step-000020": {"heldout": 0.05, "control": 0.06},
    }
    return made


def own_photos() -> Made:
    """SDXL on a card, on photos of which none is held out; the loss never leaves its noise."""
    made = Made(captions=dict(OWN), losses={}, snapshots=(), steps=200)
    made.resolved["dataset"]["class_word"] = "clock"
    made.environment = {"device": "NVIDIA L4", "driver": "570.1", "threads": 1}
    made.losses_of_steps = [0.15 if step % 2 else 0.16 for step in range(200)]
    return made


def pocket_photos() -> Made:
    """The pocket on somebody's photos."""
    made = own_photos()
    made.resolved["base"] = {"model": "pocket", "revision": "4" * 40}
    made.environment = {"device": "Some CPU", "threads": 1}
    return made


def sdxl() -> Made:
    """SDXL with a picture held out, and no picture of other things."""
    captions = {**OWN, "heldout/07.jpg": ("heldout", "a zwk clock on a wall")}
    made = Made(captions=captions, losses={"heldout": {"base": 0.2, "adapter": 0.199}})
    made.resolved["dataset"]["class_word"] = "clock"
    return made


KINDS = {"demo": demo, "own": own_photos, "pocket": pocket_photos, "sdxl": sdxl}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Inputs]:
    root = tmp_path_factory.mktemp("kinds")
    return {name: read(make().write(root / name)) for name, make in KINDS.items()}


@pytest.fixture(scope="module")
def pages(runs: dict[str, Inputs]) -> dict[str, str]:
    return {name: page(inputs) for name, inputs in runs.items()}


def words(markup: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\\1>", "", markup, flags=re.S)
    return " ".join(Read(body).text.split())


def elements(markup: str, name: str, **wanted: str) -> list[dict[str, Any]]:
    found = [attributes for element, attributes in Read(markup).elements if element == name]
    return [one for one in found if wanted.items() <= one.items()]


@pytest.mark.parametrize(
    ("kind", "title", "sentence"),
    [
        ("demo", "zwk toy", "2 pictures of zwk toy, trained for 40 steps on a CPU."),
        ("own", "zwk clock", "6 pictures of zwk clock, trained for 200 steps on NVIDIA L4."),
        ("pocket", "zwk clock", "6 pictures of zwk clock, trained for 200 steps on a CPU."),
        ("sdxl", "zwk clock", "6 pictures of zwk clock, trained for 40 steps on a CPU."),
    ],
)
def test_the_page_is_called_after_its_subject_and_says_what_this_run_was(
    pages: dict[str, str], kind: str, title: str, sentence: str
):
    assert f"<title>{title} · LoRA adapter</title>" in pages[kind]
    text = words(pages[kind])
    assert f"{title} {sentence} Recipe pocket-demo version 2" in text
    head, recipe = text.split("What is switched off is not listed", 1)[0].rsplit("Recipe", 1)
    assert "A toy that the base model has never seen" in recipe
    assert "A toy that the base model has never seen" not in head


@pytest.mark.parametrize(
    ("kind", "tones", "short"),
    [
        ("demo", ["good", "bad"], "It learned Its error on 1 picture of the subject"),
        ("own", ["unknown"], "Nobody can tell yet No pictures are held out, so nobody can tell "
         "whether it learned: put 1 or 2 into data/clock/heldout and set dataset.heldout: "
         "heldout."),
        ("pocket", ["unknown"], "Nobody can tell yet"),
        ("sdxl", ["unsure"], "Little was learned"),
    ],
)  # fmt: skip
def test_there_is_always_a_verdict(pages: dict[str, str], kind: str, tones: list[str], short: str):
    items = [item["class"] for item in elements(pages[kind], "li") if item.get("class")]
    assert items == tones
    assert short in words(pages[kind])


HOLD_OUT = (
    "mkdir data/clock/heldout\nmv data/clock/06.jpg data/clock/06.txt data/clock/heldout/\n"
    "dvc add data/clock\npython -m lora_recipes pin\ndvc repro"
)


@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        ("demo", [
            "git add -A\ngit commit -m 'zwk toy, 40 steps'\ndvc push",
            "dvc exp run -n shorter -S train.epochs=auto -S train.steps=10",
            "dvc exp run -n keeping -S prior.images=40",
            "dvc exp run -n milder -S sample.strength=0.56",
            "dvc exp run -n seeds -S 'sample.seeds=[0,1,2]'",
        ]),
        ("own", ["git add -A\ngit commit -m 'zwk clock, 200 steps'\ndvc push", HOLD_OUT]),
        ("pocket", ["git add -A\ngit commit -m 'zwk clock, 200 steps'\ndvc push", HOLD_OUT]),
        ("sdxl", [
            "git add -A\ngit commit -m 'zwk clock, 40 steps'\ndvc push",
            "dvc add data/clock\npython -m lora_recipes pin\ndvc repro",
            "dvc exp run -n longer -S train.epochs=auto -S train.steps=80",
        ]),
    ],
)  # fmt: skip
def test_the_next_commands_follow_from_the_numbers(
    runs: dict[str, Inputs], pages: dict[str, str], kind: str, commands: list[str]
):
    assert [one.command for one in advice(runs[kind])] == commands
    shown = re.findall(r"<li><p>.*?<code>(.*?)</code>", pages[kind], re.S)
    assert [Read(one).text for one in shown] == commands


def test_by_heart_and_forgetting_without_snapshots_advise_half_the_steps(tmp_path: Path):
    for name, losses, why in (
        ("heart", {"heldout": {"base": 0.1, "adapter": 0.2}}, "it learned by heart"),
        ("forgot", {"heldout": {"base": 0.2, "adapter": 0.1},
                    "control": {"base": 0.1, "adapter": 0.2}}, "it forgets less"),
    ):  # fmt: skip
        found = advice(read(Made(losses=losses, snapshots=()).write(tmp_path / name)))
        [shorter] = [one for one in found if "-n shorter" in one.command]
        assert shorter.why == f"Train for half the steps: {why}"
        assert shorter.command.endswith("-S train.steps=20")


def test_a_snapshot_that_is_hardly_better_than_the_end_is_no_reason_to_stop_there(tmp_path: Path):
    made = demo()
    made.losses["control"]["adapter"] = 0.02
    for loss, commands in ((0.0399, 0), (0.03, 1)):
        made.snapshot_losses["step-000010"]["heldout"] = loss
        found = advice(read(made.write(tmp_path / str(loss))))
        assert sum("-n shorter" in one.command for one in found) == commands


def test_names_are_quoted_for_the_shell_and_few_pictures_are_not_taken_away(tmp_path: Path):
    made = own_photos()
    made.captions = {"a 1.jpg": ("train", "x"), "b.jpg": ("train", "y")}
    made.resolved["data"] = "data/my clock"
    [_, hold_out] = advice(read(made.write(tmp_path)))
    assert hold_out.command.splitlines()[:3] == [
        "mkdir 'data/my clock/heldout'",
        "mv <one or two pictures> 'data/my clock/heldout'/",
        "dvc add 'data/my clock'",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_pocket_with_photos_says_that_no_likeness_is_to_be_had(
    pages: dict[str, str], kind: str
):
    note = (
        "The pocket draws coloured shapes, not photos: this run shows that your data and settings "
        "go through, not likeness."
    )
    assert (note in words(pages[kind])) == (kind == "pocket")


@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_and_a_revision_stand_there_for_sdxl_alone(pages: dict[str, str], kind: str):
    text, is_sdxl = words(pages[kind]), kind in ("own", "sdxl")
    for shown in ("ComfyUI", "A1111 and Forge", "kohya sd-scripts", "LoRA adapter for SDXL"):
        assert (shown in text) == is_sdxl, shown
    assert ('<th scope="row">revision</th>' in pages[kind]) == is_sdxl
    if is_sdxl:
        assert "ComfyUI/models/loras/clock-zwk.safetensors" in text
    [link] = elements(pages[kind], "a", href="../adapter.safetensors")
    assert link["download"] == ("demo-zwk" if kind == "demo" else "clock-zwk") + ".safetensors"


def test_without_a_trigger_the_data_folder_names_page_and_file(tmp_path: Path):
    made = own_photos()
    del made.resolved["dataset"]["trigger"]
    del made.resolved["dataset"]["class_word"]
    made.resolved["data"] = "/photos/Old Clock/"
    markup = page(read(made.write(tmp_path)))
    assert "<title>Old Clock · LoRA adapter</title>" in markup
    assert "loras/Old-Clock.safetensors" in markup


def test_what_auto_was_is_said(pages: dict[str, str]):
    assert "auto here: cuda" in words(pages["own"])
    assert "auto here: cpu" in words(pages["pocket"])


def test_the_users_own_picture_stands_first_beside_the_subject_and_not_beside_other_things(
    pages: dict[str, str],
):
    cards = re.findall(r"<article class=\"card.*?</article>", pages["demo"], re.S)
    assert len(cards) == 11
    for card in cards:
        first = elements(card, "figure")[0]["class"]
        of_others = "Of other things" in card
        assert first == ("base" if of_others else "yours"), card[:200]
    assert sum("Of other things" in card for card in cards) == 3
    assert "Your picture heldout/07.jpg" in pages["sdxl"], "held out, if there is one"
    assert "Your picture 01.jpg" in pages["own"]


def test_of_many_prompts_four_and_two_of_other_things_are_open_and_the_rest_is_folded(
    pages: dict[str, str],
):
    opened, folded = pages["demo"].split('<details class="rest">')
    prompts = [re.findall(r"<h3><bdi[^>]*>(.*?)</bdi></h3>", part) for part in (opened, folded)]
    assert prompts[0] == [*(f"a zwk toy, number {n}" for n in range(4)), "a red circle",
                          "a green star"]  # fmt: skip
    assert prompts[1][:5] == [*(f"a zwk toy, number {n}" for n in range(4, 8)), "a blue ring"]
    assert "<summary>5 more prompts</summary>" in folded
    assert '<details class="rest">' not in pages["sdxl"]


def test_the_best_snapshot_is_framed_and_every_snapshots_losses_are_told(pages: dict[str, str]):
    framed = [one["class"] for one in elements(pages["demo"], "figure") if "class" in one]
    assert framed.count("snapshot best") == 11, "one for each prompt"
    assert [name for name in framed if "best" in name.split()] == ["snapshot best"] * 11
    [table] = re.findall(r'<table class="losses">.*?</table>', pages["demo"], re.S)
    table = table.replace("</th>", " </th>").replace("</td>", " </td>")
    rows = [" ".join(Read(row).text.split()) for row in re.findall(r"<tr.*?</tr>", table, re.S)]
    assert rows == [
        "With The subject, held out Other things",
        "Base 0.3000 0.0200",
        "Step 10 (25 %) best 0.0300 −90 % 0.0500 +150 %",
        "Step 20 (50 %) 0.0500 −83 % 0.0600 +200 %",
        "Adapter 0.0400 −87 % 0.0700 +250 %",
    ]
    for kind in ("own", "sdxl"):
        assert "best" not in [one.get("class", "") for one in elements(pages[kind], "tr")]


def test_a_curve_shows_the_smoothed_line_and_says_what_it_cuts_off(pages: dict[str, str]):
    assert "each step" in pages["demo"]
    assert "1 step above the frame, cut off" in pages["demo"]
    assert "above the frame" not in pages["own"]
    assert "no more than the noise of single steps explains" in words(pages["own"])
    assert "no more than the noise" not in words(pages["demo"])


def test_a_rate_that_never_moves_is_a_sentence_and_no_drawing(tmp_path: Path):
    made = own_photos()
    root = made.write(tmp_path)
    table = root / "out" / "loss.tsv"
    lines = [line.rsplit("\t", 1)[0] for line in table.read_text().splitlines()]
    table.write_text(
        "".join([lines[0] + "\tlearning_rate\n", *(f"{x}\t0.0001\n" for x in lines[1:])])
    )
    markup = page(read(root))
    assert "The learning rate was 0.0001 throughout (adafactor, cosine)." in words(markup)
    assert "rate-title" not in markup


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_pressed_has_a_name_and_is_reached_by_the_keyboard(
    pages: dict[str, str], kind: str
):
    assert [one["class"] for one in elements(pages[kind], "button") if "aria-label" in one] == [
        "previous",
        "next",
    ]
    inside = re.findall(r'<button type="button" class="copy".*?</button>', pages[kind], re.S)
    assert {" ".join(Read(one).text.split()) for one in inside} == {
        "Copy the prompt",
        "Copy these lines",
    }
    assert all(one.get("type") == "button" for one in elements(pages[kind], "button"))
    assert all(one["tabindex"] == "0" for one in elements(pages[kind], "pre"))

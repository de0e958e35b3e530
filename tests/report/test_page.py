"""The page is whole, alone, honest about user text, and the same for the same results."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from lora_recipes.errors import UserError
from lora_recipes.report.inputs import read
from lora_recipes.report.page import page
from lora_recipes.reporting import Quiet
from lora_recipes.stages.report import run
from tests.report.project import Made
from tests.report.test_templates import NASTY, Read

OUTWARD = re.compile(r"(?:https?:)?//|url\(|@import|\bfetch\b|XMLHttpRequest|import\(", re.I)
LOADING = {"src", "srcset", "href", "action", "data", "poster", "background", "xlink:href"}


@pytest.fixture(scope="module")
def markup(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(read(Made().write(tmp_path_factory.mktemp("project"))))


@pytest.fixture(scope="module")
def parsed(markup: str) -> Read:
    return Read(markup)


def of(parsed: Read, name: str) -> list[dict[str, str | None]]:
    return [attributes for element, attributes in parsed.elements if element == name]


def test_nothing_is_asked_of_anybody(markup: str, parsed: Read):
    loaded = [
        value or ""
        for _, attributes in parsed.elements
        for key, value in attributes.items()
        if key in LOADING
    ]
    assert loaded, "there are pictures and menu links"
    own = "../adapter.safetensors"  # beside the page, opened only by a click
    assert [url for url in loaded if not url.startswith(("data:image/", "#"))] == [own]
    assert [link["href"] for link in of(parsed, "a") if link["href"] == own] == [own]
    style = re.search(r"<style>(.*?)</style>", markup, re.S)
    script = re.search(r"<script>(.*?)</script>", markup, re.S)
    assert style
    assert script
    assert OUTWARD.findall(style[1] + script[1]) == []


def test_the_browser_is_told_to_load_nothing_and_to_follow_only_the_pages_own_style_and_script(
    markup: str, parsed: Read
):
    (policy,) = [m["content"] for m in of(parsed, "meta") if m.get("http-equiv")]
    hashes = {}
    for name in ("style", "script"):
        (inside,) = re.findall(f"<{name}>(.*?)</{name}>", markup, re.S)
        digest = hashlib.sha256(inside.encode()).digest()
        hashes[name] = base64.b64encode(digest).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes['style']}'; "
        f"script-src 'sha256-{hashes['script']}'; base-uri 'none'; form-action 'none'"
    )
    attributes = {key for _, found in parsed.elements for key in found}
    assert [key for key in attributes if key == "style" or key.startswith("on")] == []


def test_every_sample_and_every_dataset_picture_is_there_whole_with_words_for_it(parsed: Read):
    images = [image for image in of(parsed, "img") if image.get("src")]
    # 2 prompts: the user's own picture, base, 2 snapshots and adapter with seed 0, base and adapter
    # with seed 1; 4 photos
    assert len(images) == 2 * (5 + 2) + 4
    for image in images:
        assert image["alt"]
        with Image.open(io.BytesIO(base64.b64decode((image["src"] or "").split(",")[1]))) as inside:
            inside.load()
            assert inside.size == (int(image["width"] or 0), int(image["height"] or 0))
    assert [image["alt"] for image in images[:7]] == [
        "Your picture test/03.png: a zwk toy in a wood",
        "Base, seed 0: a photo of a zwk toy",
        "Step 10 (25\u202f%), seed 0: a photo of a zwk toy",
        "Step 20 (50\u202f%), seed 0: a photo of a zwk toy",
        "Adapter, seed 0: a photo of a zwk toy",
        "Base, seed 1: a photo of a zwk toy",
        "Adapter, seed 1: a photo of a zwk toy",
    ]
    assert images[-1]["alt"] == "rest/04.png: a blue star"


def test_exactly_the_overridden_settings_are_marked_with_the_recipes_value(markup: str):
    rows = re.findall(r'<tr class="overridden">(.*?)</tr>', markup, re.S)
    assert [Read(row).text.split() for row in rows] == [
        ["learning_rate0.0001", "recipe:", "0.0002"],
        ["seeds[0,1]", "recipe:", "[0]"],
    ]


def test_a_setting_that_was_switched_off_is_marked_too(tmp_path: Path):
    made = Made()
    made.resolved["overridden"] = {"train.noise_offset": 0.05}

    rows = re.findall(r'<tr class="overridden">(.*?)</tr>', page(read(made.write(tmp_path))), re.S)

    assert [Read(row).text.split() for row in rows] == [["noise_offsetoff", "recipe:", "0.05"]]


def test_settings_that_are_off_and_so_not_in_the_resolved_recipe_are_not_missed(tmp_path: Path):
    made = Made()
    del made.resolved["dataset"]["trigger"]
    del made.resolved["dataset"]["class_word"]
    made.resolved["sample"].pop("negative_prompt", None)

    assert "no trigger; prompt as the captions do" in Read(page(read(made.write(tmp_path)))).text


def test_without_overrides_nothing_is_marked(tmp_path: Path):
    made = Made()
    made.resolved["overridden"] = {}

    markup = page(read(made.write(tmp_path)))

    assert "Every value is the recipe's own." in Read(markup).text
    assert '<tr class="overridden">' not in markup


def test_every_setting_is_listed_under_its_section(parsed: Read, markup: str):
    tables = re.findall(r"<table>\s*<caption>(\w+)</caption>(.*?)</table>", markup, re.S)
    assert [name for name, _ in tables] == [  # those first in which something was changed
        "train", "sample", "base", "dataset", "prepare", "encode", "lora", "compute",
    ]  # fmt: skip
    train = re.findall(r'<th scope="row">(.*?)</th>', dict(tables)["train"])
    assert [name.replace("<wbr>", "") for name in train] == [  # and in it, what was changed
        "learning_rate", "repeats", "scheduler", "optimizer", "adafactor.eps", "adafactor.beta1",
        "snapshots",
    ]  # fmt: skip
    assert "learning_<wbr>rate" in train
    assert "adafactor.<wbr>beta1" in train


@pytest.mark.parametrize("text", [*NASTY, "שלום <b>", "W" * 500, "🦊 a\u200bb\u202e"])
def test_captions_prompts_and_descriptions_are_shown_as_they_were_written(
    tmp_path: Path, text: str
):
    made = Made(prompts=(text,), captions={"01.png": ("train", text)}, snapshots=())
    made.resolved["name"] = made.resolved["description"] = text
    made.resolved["dataset"]["trigger"] = text
    made.resolved["sample"]["prompts"] = [text]
    made.resolved["sample"]["negative_prompt"] = text
    made.resolved["base"]["model"] = text

    plain = Made(prompts=("x",), captions={"01.png": ("train", "x")}, snapshots=())
    plain.resolved["dataset"]["trigger"] = plain.resolved["base"]["model"] = "x"
    plain.resolved["sample"]["prompts"] = ["x"]
    plain.resolved["sample"]["negative_prompt"] = "x"
    nasty = Read(page(read(made.write(tmp_path / "nasty"))))
    calm = Read(page(read(plain.write(tmp_path / "calm"))))

    assert nasty.text.count(text) >= 8
    assert [name for name, _ in nasty.elements] == [name for name, _ in calm.elements]
    assert {key for _, found in nasty.elements for key in found} == {
        key for _, found in calm.elements for key in found
    }


def test_headings_go_down_one_level_at_a_time_and_the_menu_leads_to_them(parsed: Read):
    levels = [int(name[1]) for name, _ in parsed.elements if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [found["id"] for _, found in parsed.elements if "id" in found]
    assert len(ids) == len(set(ids))
    within = {f"#{name}" for name in ids} | {"../adapter.safetensors"}
    assert {link["href"] for link in of(parsed, "a")} <= within


def test_what_is_not_there_leaves_no_hole(tmp_path: Path):
    made = Made(snapshots=(), prompts=(), losses={})
    made.resolved["dataset"]["trigger"] = "none"

    text = Read(page(read(made.write(tmp_path)))).text

    assert "The recipe asks for none" in text
    assert "Held-out" not in text
    assert "It learned" not in text
    assert "for example “" not in text  # quotes come from <q>
    assert "no trigger; prompt as the captions do" in text


def test_the_way_to_each_program_is_written_with_strength_and_file(parsed: Read):
    for line in (
        "cp out/adapter.safetensors ComfyUI/models/loras/clock-zwk.safetensors",
        "cp out/adapter.safetensors stable-diffusion-webui/models/Lora/clock-zwk.safetensors",
        "<lora:clock-zwk:0.8>",
        'pipe.set_adapters("mine", 0.8)',
        "--network_weights out/adapter.safetensors --network_mul 0.8",
        '    "stabilityai/stable-diffusion-xl-base-1.0",\n'
        '    revision="462165984030d82259a11f4367a4eed129e94a7b",\n',
    ):
        assert line in parsed.text


def test_the_python_snippet_is_python_for_every_kind_of_base():
    from lora_recipes.report.usage import snippet

    for model in ("pocket", "models/x.safetensors", 'a "quoted" folder\\', "some/model"):
        text = snippet({"model": model, "revision": "a" * 40}, 0.7)
        compile(text, "snippet", "exec")
        assert ("revision=" in text) == (model == "some/model")
        assert ("from_single_file" in text) == model.endswith(".safetensors")


def test_large_pictures_are_made_smaller_and_small_ones_stay_as_they_are(tmp_path: Path):
    from lora_recipes.report.images import embed

    Image.effect_noise((1200, 600), 60).convert("RGB").save(tmp_path / "large.png")
    Image.new("RGB", (128, 128), "teal").save(tmp_path / "small.png")

    large, small = embed(tmp_path / "large.png", 480), embed(tmp_path / "small.png", 480)

    assert (large.width, large.height) == (480, 240)
    assert large.uri.startswith("data:image/jpeg;base64,")
    assert small.uri.startswith("data:image/png;base64,")
    assert base64.b64decode(small.uri.split(",")[1]) == (tmp_path / "small.png").read_bytes()


def test_a_large_dataset_is_shown_in_part_and_says_so(tmp_path: Path):
    made = Made(
        captions={f"{n:03}.png": ("train", "a toy") for n in range(70)}, prompts=(), snapshots=()
    )

    parsed = Read(page(read(made.write(tmp_path))))

    assert len([image for image in of(parsed, "img") if image.get("src")]) == 60
    assert "and 10 more that are not shown" in parsed.text


def test_the_stage_writes_the_same_page_and_figures_twice(tmp_path: Path):
    Made().write(tmp_path)
    report = Quiet()

    run(tmp_path, report)
    first = (tmp_path / "out/report/index.html").read_bytes()
    run(tmp_path, report)

    assert (tmp_path / "out/report/index.html").read_bytes() == first
    figures = json.loads((tmp_path / "out/report.json").read_text())
    assert figures["adapter_bytes"] == (tmp_path / "out/adapter.safetensors").stat().st_size
    ends = [
        "verdict: It learned; It forgot nothing",
        "page: out/report/index.html",
        "keep it: git add -A && git commit",
    ]
    assert report.said == ends * 2
    assert report.warned == []


MAKES, GONE, PICTURE = (
    "run `dvc repro`, which makes it",
    "is missing",
    "cannot be read as a picture",
)
RESULTS = {
    "out/adapter.safetensors": (GONE, MAKES),
    "out/loss.tsv": ("cannot be read: No such file or directory", MAKES),
    "out/train.json": (GONE, MAKES),
    "out/environment.json": (GONE, MAKES),
    "out/snapshots/losses.json": ("", MAKES),  # there without pictures that were held out
    "out/samples/index.json": (GONE, "run `dvc repro sample`, which writes it"),
    "out/samples/p00-s0-base.png": (PICTURE, "run `dvc repro`, which brings it back"),
    "build/manifest.json": (GONE, MAKES),
    "build/images/index.json": (GONE, "run `dvc repro prepare`, which writes it anew"),
    "build/images/01.png.png": (PICTURE, "run `dvc repro`, which brings it back"),
}


@pytest.mark.parametrize("name", [name for name, (what, _) in RESULTS.items() if what])
def test_a_missing_result_is_named_with_the_command_that_makes_it(tmp_path: Path, name: str):
    Made().write(tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(UserError) as caught:
        run(tmp_path, Quiet())

    what, fix = RESULTS[name]
    assert str(caught.value) == f"{tmp_path}/{name}: {what}\n  fix:     {fix}"
    assert not (tmp_path / "out/report").exists()


@pytest.mark.parametrize("name", [*RESULTS][1:])
@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe"], ids=["empty", "other", "no text"])
def test_a_damaged_result_is_named_too(tmp_path: Path, name: str, content: bytes):
    losses = {"heldout": 0.1, "control": 0.1}
    Made(snapshot_losses={"step-000010": losses, "step-000020": losses}).write(tmp_path)
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UserError) as caught:
        run(tmp_path, Quiet())

    what, fix = RESULTS[name]
    if name.endswith(".json"):
        json = "is not JSON: it is damaged, or cut off"
        what = "is not what the stage writes" if content == b"[1]" else json
    elif name.endswith(".tsv"):
        what = "is not what the train stage writes"
    assert str(caught.value) == f"{tmp_path}/{name}: {what}\n  fix:     {fix}"
    assert not (tmp_path / "out/report").exists()


def test_losses_of_other_roles_than_the_record_are_named(tmp_path: Path):
    Made(snapshot_losses={"step-000010": {"heldout": 0.1}}).write(tmp_path)

    with pytest.raises(UserError) as caught:
        run(tmp_path, Quiet())

    assert str(caught.value) == (
        f"{tmp_path}/out/snapshots/losses.json: does not hold the losses that out/train.json "
        f"speaks of\n  fix:     {MAKES}"
    )

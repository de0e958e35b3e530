"""The command `caption`, from the words typed to the files beside the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    AutoProcessor,
    BlipForConditionalGeneration,
    Florence2ForConditionalGeneration,
)

from lora_recipes import cli
from lora_recipes.caption import run as running
from lora_recipes.caption.describe import Captioner, load_captioner
from lora_recipes.caption.families import Family
from lora_recipes.caption.gaps import worded
from lora_recipes.caption.locate import locate_captioner, peek
from lora_recipes.dataset.captions import own_captions
from lora_recipes.dataset.find import find
from lora_recipes.recipe.sections.dataset import Dataset
from tests.caption import tiny
from tests.dataset.pictures import data_of, photo, put

MINE = Dataset(control="others")


@pytest.fixture(autouse=True)
def as_before():
    """torch as other tests expect it."""
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(exact)


def load(folder: Path, root: Path, prompt: str = "", max_tokens: int = 12) -> Captioner:
    family: Family = peek(str(folder), "none", root)
    located = locate_captioner(str(folder), "none", root, family)
    return load_captioner(located, prompt or family.prompt, max_tokens, "cpu")


def caption(*options: str, model: str = "blip") -> int:
    return cli.main(["caption", "--model", model, "--device", "cpu", "--max-tokens", "8", *options])


def texts(root: Path) -> dict[str, str]:
    folder = root / "data/my"
    own, problems = own_captions(folder, find(folder, MINE), MINE)
    assert problems == []
    return {path: " | ".join(found.texts) for path, found in own.items()}


@pytest.mark.parametrize("model", ["blip", "florence"])
def test_pictures_without_a_caption_get_one_and_others_keep_theirs(
    root: Path, model: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
):
    request.getfixturevalue(model)
    before = (root / "data/my/metadata.jsonl").read_bytes()
    assert caption(model=model) == 0
    found = texts(root)
    assert (found["a.png"], found["b.png"]) == ("my own words", "from metadata")
    assert found["c.png"].startswith("zwk, ")
    assert found["deep/d.png"].startswith("zwk, ")
    assert found["others/e.png"]
    assert "zwk" not in found["others/e.png"]
    assert (root / "data/my/metadata.jsonl").read_bytes() == before
    told = capsys.readouterr().out
    assert told.startswith("data/my: 3 captions written; 2 pictures have a caption already\n")
    assert f"data/my/c.txt: {found['c.png']}\n" in told
    assert told.endswith(
        "`python -m lora_recipes pin`, since captions are part of the data's hash\n"
    )
    assert caption(model=model) == 0
    assert capsys.readouterr().out == (
        "data/my: no caption was written; 5 pictures have a caption already, "
        "--overwrite makes them anew\n"
    )


def test_the_same_picture_is_described_alike_in_any_company_and_upright(root, blip):
    """Turned by EXIF, as a PNG, after other pictures: the same words."""
    captioner = load(blip, root)
    wide = photo(60, 40, seed=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = data_of(wide.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    put(root / "one", "a.png", wide)
    put(root / "one", "b.png", turned)
    put(root / "one", "0.png")
    assert caption("one", "--json") == 0
    one = {name: (root / "one" / name).read_text() for name in ("0.txt", "a.txt", "b.txt")}
    assert one["a.txt"] == one["b.txt"] == worded("", load(blip, root, "", 8).describe(wide)) + "\n"
    assert captioner.describe(wide) == captioner.describe(wide)
    assert len({captioner.describe(photo(60, 40, seed=seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("model", "prompt", "kind"),
    [
        ("blip", "", BlipForConditionalGeneration),
        ("blip", "a photo of", BlipForConditionalGeneration),
        ("florence", "<CAPTION>", Florence2ForConditionalGeneration),
    ],
)
def test_a_model_says_what_it_says_as_transformers_itself_loads_it(
    root: Path, model: str, prompt: str, kind: Any, request: pytest.FixtureRequest
):
    """From the same folder by its own two lines, with the beams that are ours."""
    folder = request.getfixturevalue(model)
    own, processor = kind.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    inputs = processor(images=photo(seed=4), text=prompt or None, return_tensors="pt")
    first = {} if model == "blip" else {"forced_bos_token_id": 0}
    tokens = own.generate(
        **inputs,
        num_beams=3,
        early_stopping=True,
        no_repeat_ngram_size=3,
        max_new_tokens=9,
        **first,
    )
    said = processor.tokenizer.decode(tokens[0], skip_special_tokens=True)
    assert said
    assert load(folder, root, prompt, 9).describe(photo(seed=4)) == said


def test_blip_goes_on_from_the_prompt_and_says_at_most_so_many_words(root, blip):
    captioner = load(blip, root, "a photo of", 3)
    said = captioner.describe(photo(seed=2))
    assert said.startswith("a photo of ")
    assert len(said.split()) <= 3 + 3


@pytest.mark.parametrize("prompt", ["", "a photo of"])
def test_a_picture_of_which_the_model_says_nothing_is_named_and_gets_no_file(
    root: Path, blip: Path, monkeypatch, capsys, prompt: str
):
    load_it = running._load

    def speechless(*given):
        describe = load_it(*given)
        bias = describe.__self__.model.text_decoder.cls.predictions.bias
        with torch.no_grad():
            bias[3] += 1e4  # [SEP], always
        return describe

    monkeypatch.setattr(running, "_load", speechless)
    assert caption("data/my/deep", *(["--prompt", prompt] if prompt else [])) == 1
    assert not (root / "data/my/deep/d.txt").exists()
    told = capsys.readouterr()
    assert told.out == "data/my: no caption was written\n"
    assert told.err.endswith(
        "data/my/deep/d.png: the model says nothing of it, so no caption was written\n"
        "  fix:     write data/my/deep/d.txt yourself, or try another --prompt or --model\n"
    )


def test_json_and_dry_run_print_what_would_be_written_and_write_nothing(root, blip, capsys):
    assert caption("--dry-run", "--json", "--trigger", "rex") == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"folder", "model", "written", "captions", "kept", "without"}
    assert (told["folder"], told["model"], told["written"]) == ("data/my", "blip", False)
    assert [each["picture"] for each in told["captions"]] == ["c.png", "deep/d.png", "others/e.png"]
    assert told["captions"][0]["file"] == "data/my/c.txt"
    assert told["captions"][0]["caption"].startswith("rex, ")
    assert texts(root).keys() == {"a.png", "b.png"}
    assert caption("--dry-run") == 0
    assert capsys.readouterr().out.endswith("\nnothing was written: --dry-run\n")


def test_overwrite_replaces_files_and_a_link_into_a_cache_is_not_written_through(root, blip):
    cached = put(root / ".dvc/cache/files/md5/ab", "c" * 30, "cached words")
    file = root / "data/my/a.txt"
    file.unlink()
    file.symlink_to(cached)
    assert caption("--overwrite") == 0
    assert cached.read_text() == "cached words"
    assert not file.is_symlink()
    assert texts(root)["a.png"].startswith("zwk, ")
    assert texts(root)["b.png"] == "from metadata"


def test_a_damaged_picture_is_named_and_the_others_get_their_captions(root, blip, capsys):
    whole = data_of(photo(200, 200), "JPEG")
    put(root / "data/my", "b2.jpg", whole[: len(whole) // 2])
    assert caption() == 1
    told = capsys.readouterr()
    assert told.out.startswith("data/my: 3 captions written")
    assert "data/my/b2.jpg: is a damaged JPEG" in told.err


def test_stopped_in_between_whole_files_stay_and_another_run_does_the_rest(
    root: Path, blip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    load_it, said = running._load, []

    def interrupted(*given):
        describe = load_it(*given)

        def once(image):
            if said:
                raise KeyboardInterrupt
            said.append(describe(image))
            return said[0]

        return once

    monkeypatch.setattr(running, "_load", interrupted)
    assert caption() == 130
    assert "1 of 3 captions written, each of them whole; another run does the rest\n" in (
        capsys.readouterr().err
    )
    files = sorted(path.name for path in (root / "data/my").rglob("*.txt"))
    assert files == ["a.txt", "c.txt"]
    assert (root / "data/my/c.txt").read_text() == f"{worded('zwk', said[0])}\n"
    monkeypatch.setattr(running, "_load", load_it)
    assert caption() == 0
    assert capsys.readouterr().out.startswith("data/my: 2 captions written; 3 pictures have")


@pytest.mark.parametrize("tokens", ["0", "257"])
def test_a_number_of_tokens_that_makes_no_sense_is_refused_first(root, tokens, capsys):
    assert cli.main(["caption", "--model", "nowhere", "--max-tokens", tokens]) == 1
    assert capsys.readouterr().err == (
        f"--max-tokens = {tokens}\n  allowed: a whole number from 1 to 256\n"
        "  fix:     SDXL reads 75 tokens of a caption: 60 leave room for the trigger\n"
    )


def test_of_pictures_that_no_recipe_knows_the_trigger_is_not_taken(root, blip, capsys):
    put(root / "else", "a.png")
    assert caption("else") == 0
    assert "zwk" not in (root / "else/a.txt").read_text()
    told = capsys.readouterr()
    assert "no trigger: else is not params.yaml's data; --trigger puts a word in front" in told.err
    assert told.out.splitlines()[-1] == "next: read them and correct what is wrong"


def test_under_dvc_it_says_that_dvc_and_the_pin_have_to_hear_of_it(root, blip, capsys):
    (root / "data/my.dvc").write_text("outs: []\n")
    assert caption() == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "next: read them and correct what is wrong; then `dvc add data/my`, "
        "`python -m lora_recipes pin`, since captions are part of the data's hash"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text_config__num_hidden_layers": 2}, "lack "),
        ({"text_config__vocab_size": 90}, ""),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_a_picture_is_described(
    root: Path, blip: Path, capsys, changes: dict[str, int], told: str
):
    tiny.edit(blip / "config.json", **changes)
    assert caption() == 1
    assert (
        f"{blip}/model.safetensors: the weights do not fit BLIP's configuration beside them: {told}"
        in capsys.readouterr().err
    )
    assert texts(root).keys() == {"a.png", "b.png"}


def test_what_is_not_stated_is_as_transformers_leaves_it_out(
    root: Path, blip: Path, florence: Path
):
    picture = photo(seed=3)
    for folder, changes in (
        (blip, {"vision_config__patch_size": None, "vision_config__hidden_act": None}),
        (florence, {"vision_config__patch_stride": None, "text_config__scale_embedding": None}),
    ):
        said = load(folder, root).describe(picture)
        tiny.edit(folder / "config.json", **changes)
        assert load(folder, root).describe(picture) == said
    tiny.edit(florence / "processor_config.json", image_processor__image_seq_length=None)
    assert load(florence, root).describe(picture) == said


def test_what_a_folder_holds_besides_is_not_looked_at(root: Path, blip: Path):
    """An adapter, generation settings, code: nothing of it reaches the library."""
    (blip / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    (blip / "generation_config.json").write_text('{"max_length": "x", "do_sample": true}')
    (blip / "modeling.py").write_text("raise SystemExit")
    tiny.edit(blip / "config.json", _attn_implementation="a/b", quantization_config={"x": 1})
    assert load(blip, root).describe(photo())


def test_a_device_that_is_not_there_is_named_as_the_option_is(root, blip, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["caption", "--model", "blip", "--device", "cuda"]) == 1
    assert "--device = cuda: torch " in capsys.readouterr().err


def test_a_model_without_a_name_is_a_usage_error(root, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["caption"])
    assert stopped.value.code == 2
    assert "--model" in capsys.readouterr().err

"""Which models are taken, from where, and what is said of others; nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from lora_recipes.caption.families import BLIP, FLORENCE, checked_prompt
from lora_recipes.caption.locate import CaptionModel, locate_captioner, peek
from lora_recipes.errors import UserError
from tests.caption import tiny

REVISION = "0123456789abcdef0123456789abcdef01234567"


def locate(model: str, root: Path, revision: str = "none") -> CaptionModel:
    return locate_captioner(model, revision, root, peek(model, revision, root))


def refused(model: str, root: Path, revision: str = "none") -> str:
    with pytest.raises(UserError) as error:
        locate(model, root, revision)
    return str(error.value)


def snapshot(root: Path) -> Path:
    return root.parent / "hub/models--someone--model/snapshots" / REVISION


def test_both_families_are_known_by_their_configuration(root: Path, blip: Path, florence: Path):
    assert locate("blip", root).family is BLIP
    found = locate("florence", root)
    assert found.family is FLORENCE
    assert found.weights == (florence / "model.safetensors",)
    assert found.pictures["size"] == tiny.EDGE


def test_the_older_form_of_a_folder_is_read_too(root: Path, blip: Path):
    """preprocessor_config.json beside a vocab.txt, as in what was published up to 2025."""
    settings = json.loads((blip / "processor_config.json").read_text())["image_processor"]
    (blip / "preprocessor_config.json").write_text(json.dumps({**settings, "size": 48}))
    (blip / "processor_config.json").unlink()
    (blip / "tokenizer.json").unlink()
    (blip / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    assert locate("blip", root).pictures["size"] == 48


def test_a_model_of_the_hub_is_found_at_its_commit(root: Path):
    tiny.blip(snapshot(root))
    found = locate("someone/model", root, REVISION)
    assert found.name == f"someone/model@{REVISION}"


def test_offline_it_says_which_files_to_get_and_where_to_put_them(root: Path):
    assert refused("someone/model", root, REVISION) == (
        "--model = someone/model: not on this machine (HF_HUB_OFFLINE is set); "
        f"missing at revision {REVISION}:\n    config.json\n    model.safetensors\n"
        "    tokenizer.json\n    preprocessor_config.json\n"
        "  fix:     where there is a network, run\n"
        f"    hf download someone/model --revision {REVISION} config.json model.safetensors "
        "tokenizer.json preprocessor_config.json\n"
        "  and copy the cache (HF_HOME) here; or put the files, with these sub-folders, into a\n"
        "  folder of your choice and set --model to its path"
    )


def test_of_a_model_that_is_not_known_nothing_but_its_configuration_is_fetched(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def download(repository: str, *, revision: str, allow_patterns: list[str]) -> None:
        asked.append(allow_patterns)
        snapshot(root).mkdir(parents=True, exist_ok=True)
        content = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
        (snapshot(root) / "config.json").write_text(json.dumps(content))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert refused("someone/model", root, REVISION).endswith(
        ': model_type = "llava", architectures = ["LlavaForConditionalGeneration"]: '
        "no captioning model that is known here\n"
        "  allowed: BLIP (BlipForConditionalGeneration) or Florence-2 "
        "(Florence2ForConditionalGeneration)\n"
        "  fix:     choose another --model"
    )
    assert asked == [["config.json"]]


def test_what_is_fetched_are_safetensors_and_small_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: set[str] = set()

    def download(repository: str, *, revision: str, allow_patterns: list[str]) -> None:
        asked.update(allow_patterns)
        tiny.florence(snapshot(root))
        if allow_patterns == ["config.json"]:
            (snapshot(root) / "model.safetensors").unlink()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("someone/model", root, REVISION).family is FLORENCE
    assert "model.safetensors" in asked
    assert {Path(name).suffix for name in asked} == {".json", ".safetensors", ".txt"}


@pytest.mark.parametrize(
    ("model", "revision", "told"),
    [
        ("a/b", "none", "--model = a/b: no commit is named, so its content could change"),
        ("a/b", "main", "--model = a/b: --revision = main, so its content could change"),
        ("nowhere", "none", "--model = nowhere: there is no {root}/nowhere"),
        ("params.yaml", "none", "--model = params.yaml: is a file, not a folder"),
        ("x\0", "none", "no folder can be called that"),
    ],
)
def test_a_name_that_leads_nowhere_or_anywhere_is_refused(
    root: Path, model: str, revision: str, told: str
):
    assert told.format(root=root) in refused(model, root, revision)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architectures": ["BlipForQuestionAnswering"]},
         "a BLIP for another task: BlipForQuestionAnswering"),
        ({"auto_map": {"AutoModel": "x.Y"}},
         "a BLIP that comes with code of its own, which is never run here"),
        ({"text_config__vocab_size": "many"}, 'text_config.vocab_size = "many"'),
        ({"text_config": []}, "text_config = []"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_not_understood_is_refused(root, blip, changes, told):
    tiny.edit(blip / "config.json", **changes)
    assert refused("blip", root).startswith(f"{blip}/config.json: {told}")


def test_florence_2_in_microsofts_form_is_named_with_what_to_take_instead(root, florence):
    tiny.edit(florence / "config.json", vision_config__model_type="davit")
    assert "florence-community/Florence-2-base" in refused("florence", root)


def test_weights_that_are_pickles_or_missing_are_refused(root: Path, blip: Path):
    (blip / "model.safetensors").rename(blip / "pytorch_model.bin")
    assert "only as pickles, which can run code: pytorch_model.bin" in refused("blip", root)
    (blip / "pytorch_model.bin").unlink()
    assert refused("blip", root).startswith(
        f"{blip}: is not complete; missing:\n    model.safetensors"
    )


def test_pictures_that_would_be_no_squares_are_refused(root: Path, blip: Path):
    size = {"height": 32, "width": 64}
    tiny.edit(blip / "processor_config.json", image_processor__size=size)
    assert 'size = {"height": 32, "width": 64}' in refused("blip", root)


@pytest.mark.parametrize(
    ("prompt", "fix"),
    [("<CAPTIONS>", 'did you mean "<CAPTION>"?'), ("detailed caption", '"<DETAILED_CAPTION>"'),
     ("what is it?", '"<DETAILED_CAPTION>"')],
)  # fmt: skip
def test_florence_2_is_asked_by_its_tasks(prompt: str, fix: str):
    with pytest.raises(UserError) as error:
        checked_prompt(FLORENCE, prompt)
    assert str(error.value).startswith(
        f"--prompt = {prompt}: Florence-2 is asked by one of its tasks\n"
        "  allowed: <CAPTION>, <DETAILED_CAPTION>, <MORE_DETAILED_CAPTION>\n  fix:"
    )
    assert fix in str(error.value)
    assert checked_prompt(FLORENCE, None) == "<DETAILED_CAPTION>"
    assert checked_prompt(BLIP, " a photo  of") == "a photo of"

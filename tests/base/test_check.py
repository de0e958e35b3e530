"""What is not known to be trained right is refused with file and key, from small files alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.base.check import problems_of, problems_of_base
from lora_recipes.base.facts import Schedule, read_facts
from lora_recipes.base.known import SCHEDULERS
from lora_recipes.base.locate import POCKET, identity, locate
from lora_recipes.base.values import One
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base

from .hostile import (
    CONFIGURATIONS,
    HARMLESS,
    INDEX,
    SCHEDULER,
    SCHEDULES,
    TEXT,
    TEXT_WEIGHTS,
    UNET,
    UNET_WEIGHTS,
    VAE_WEIGHTS,
    edit,
    edit_header,
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket, for reading only."""
    return Path(shutil.copytree(POCKET, tmp_path_factory.mktemp("origin") / "model"))


@pytest.fixture
def base(origin: Path, tmp_path: Path) -> Path:
    """The pocket with files of its own that are small, and links to what nobody changes here."""
    return Path(shutil.copytree(origin, tmp_path / "model", copy_function=_link_or_copy))


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith("tokenizer.json"):
        os.link(source, target)
    else:
        shutil.copy(source, target)


def told(base: Path) -> str:
    return "\n".join(map(str, problems_of_base(base)))


def test_the_pocket_is_known_to_be_right_and_stays_what_it_was(tmp_path: Path) -> None:
    located = locate(Base(model="pocket"), tmp_path)
    assert problems_of(located) == []
    assert identity(located, tmp_path / "hashes.json") == (
        "sha256:d8e5b681e196a96d2320de4acbaadfc8178e9487bc43f6f0ff785b2c1f7b9058"
    )
    facts = read_facts(located)
    assert (facts.latent_scale, facts.prediction) == (0.307984, "epsilon")
    assert facts.schedule == Schedule(0.00085, 0.012, 1000, "scaled_linear")


def test_the_miniature_of_the_tests_is_known_to_be_right(shared_model: Path) -> None:
    assert problems_of_base(shared_model) == []


@pytest.mark.parametrize(("values", "what"), SCHEDULES)
def test_another_noise_than_sdxls_is_refused_with_file_and_key(
    base: Path, values: dict[str, Any], what: str
) -> None:
    edit(base / SCHEDULER, values)
    assert told(base).startswith(f"{base / SCHEDULER}: {what}")


@pytest.mark.parametrize(("file", "values", "what"), CONFIGURATIONS)
def test_a_configuration_that_is_not_sdxls_is_refused_with_file_and_key(
    base: Path, file: str, values: dict[str, Any], what: str
) -> None:
    edit(base / file, values)
    assert what in told(base)
    assert str(base) in told(base)


def test_a_problem_names_file_key_value_what_is_allowed_and_the_way_out(base: Path) -> None:
    edit(base / SCHEDULER, {"num_train_timesteps": 10**12, "beta_schedule": "linear"})
    assert told(base) == (
        f"{base}/scheduler/scheduler_config.json: num_train_timesteps = 1000000000000: "
        "this version cannot train such a model\n"
        "  allowed: a whole number, 100 to 10,000\n"
        "  fix:     choose another base.model, for example SDXL base 1.0\n"
        f'{base}/scheduler/scheduler_config.json: beta_schedule = "linear": '
        "this version cannot train such a model\n"
        '  allowed: "scaled_linear"\n'
        "  fix:     choose another base.model, for example SDXL base 1.0"
    )


@pytest.mark.parametrize(("file", "values"), HARMLESS)
def test_what_has_no_effect_is_let_through(base: Path, file: str, values: dict[str, Any]) -> None:
    edit(base / file, values)
    assert problems_of_base(base) == []


def test_another_family_of_schedulers_is_one_clear_refusal(base: Path) -> None:
    scheduler = {
        "_class_name": "EDMEulerScheduler", "num_train_timesteps": 1000,
        "prediction_type": "v_prediction", "sigma_data": 1.0, "sigma_max": 120.0,
        "sigma_min": 0.002,
    }  # fmt: skip
    (base / SCHEDULER).write_text(json.dumps(scheduler))
    assert told(base) == (
        f'{base / SCHEDULER}: _class_name = "EDMEulerScheduler": '
        "this version cannot train such a model\n"
        f"  allowed: {One(SCHEDULERS)}\n"
        "  fix:     choose another base.model, for example SDXL base 1.0"
    )
    edit(base / SCHEDULER, {"_class_name": "EulerDiscreteScheduler"})
    heads = [str(problem).splitlines()[0] for problem in problems_of_base(base)]
    assert [head.split(": ")[1] for head in heads] == [
        "beta_start is not stated", "beta_end is not stated", "beta_schedule is not stated",
        "sigma_min = 0.002", "sigma_max = 120.0", "sigma_data = 1.0",
    ]  # fmt: skip


def metadata(**values: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header.update(__metadata__=header.get("__metadata__", {}) | values)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modelspec.prediction_type", "v"),
        ("modelspec.predict_key", "v"),
        ("prediction_type", "v_prediction"),
        ("ss_prediction_type", "v-prediction"),
        ("PREDICTION_TYPE", "V_Prediction"),
        ("modelspec.prediction_type", "flow"),
        ("modelspec.prediction_type", "\x1b[2J"),
        ("ss_v_parameterization", "True"),
        ("ss_zero_terminal_snr", "True"),
        ("zsnr", "1"),
    ],
)
def test_metadata_that_says_something_else_is_refused(base: Path, key: str, value: str) -> None:
    edit_header(base / UNET_WEIGHTS, metadata(**{key: value}))
    shown = json.dumps(value)
    assert told(base).startswith(f"{base / UNET_WEIGHTS}: {key} = {shown}")
    assert "\x1b" not in told(base)


def test_a_contradiction_names_both_places(base: Path) -> None:
    edit_header(base / UNET_WEIGHTS, metadata(**{"modelspec.prediction_type": "v"}))
    assert told(base) == (
        f'{base / UNET_WEIGHTS}: modelspec.prediction_type = "v", but {base / SCHEDULER} says '
        'prediction_type = "epsilon"\n'
        "  fix:     find out what the model predicts and correct the other place, or choose "
        "another base.model: trained towards the wrong target, an adapter makes noise"
    )


def test_v_is_trained_where_all_places_say_v(base: Path) -> None:
    edit(base / SCHEDULER, {"prediction_type": "v_prediction"})
    edit_header(base / UNET_WEIGHTS, metadata(**{"modelspec.prediction_type": "v"}))
    assert problems_of_base(base) == []
    assert read_facts(locate(Base(model="model"), base.parent)).prediction == "v_prediction"
    edit_header(base / UNET_WEIGHTS, metadata(**{"modelspec.prediction_type": "epsilon"}))
    assert "modelspec.prediction_type = " in told(base)


def test_metadata_that_says_the_same_or_nothing_is_let_through(base: Path) -> None:
    said = {"modelspec.prediction_type": "epsilon", "ss_zero_terminal_snr": "False", "format": "pt"}
    edit_header(base / UNET_WEIGHTS, metadata(**said, ot_config='{"force_v_prediction": false}'))
    edit_header(base / VAE_WEIGHTS, metadata(**{"modelspec.prediction_type": "v"}))
    assert problems_of_base(base) == []


def test_the_settings_that_onetrainer_leaves_are_read(base: Path) -> None:
    settings = {"force_v_prediction": True, "rescale_noise_scheduler_to_zero_terminal_snr": True}
    edit_header(base / UNET_WEIGHTS, metadata(ot_config=json.dumps(settings)))
    assert "ot_config: force_v_prediction = true, but " in told(base)
    assert "ot_config: rescale_noise_scheduler_to_zero_terminal_snr = true: " in told(base)
    edit_header(base / UNET_WEIGHTS, metadata(ot_config="[" * 100_000))
    assert problems_of_base(base) == []


@pytest.mark.parametrize("file", [UNET_WEIGHTS, VAE_WEIGHTS, TEXT_WEIGHTS])
@pytest.mark.parametrize("kind", ["I16", "U16"])
def test_weights_that_are_whole_numbers_are_refused(base: Path, file: str, kind: str) -> None:
    def whole(header: dict[str, Any]) -> None:
        name = sorted(set(header) - {"__metadata__"})[0]
        header[name]["dtype"] = kind

    edit_header(base / file, whole)
    part = Path(file).parent.name
    assert told(base).startswith(f"{base / file}: holds weights of the {part} in ")
    assert f"({kind})\n  allowed: F16, BF16, F32, F64\n" in told(base)


def test_weights_of_another_shape_or_name_are_refused_before_they_are_read(base: Path) -> None:
    def reshape(header: dict[str, Any]) -> None:
        header["conv_in.weight"]["shape"] = header["conv_in.weight"]["shape"][::-1]
        header["novelty"] = header.pop("conv_out.bias")

    edit_header(base / UNET_WEIGHTS, reshape)
    assert told(base) == (
        f"{base / UNET_WEIGHTS}: does not fit the unet of its configuration\n"
        "  1 missing:\n    conv_out.bias\n"
        "  1 unexpected:\n    novelty\n"
        "  1 of another shape:\n    conv_in.weight ([3, 3, 4, 64] instead of [64, 4, 3, 3])\n"
        "  fix:     fetch the model again, or choose another base.model"
    )


def shard(base: Path, weight_map: Any) -> Path:
    whole = base / UNET_WEIGHTS
    index = whole.with_name(f"{whole.name}.index.json")
    index.write_text(json.dumps({"weight_map": weight_map}))
    whole.rename(base / "unet/a.safetensors")
    return index


@pytest.mark.parametrize(
    ("weight_map", "what"),
    [
        ([], "weight_map = []"),
        (None, "weight_map = null"),
        ({}, "weight_map = {}"),
        ("a.safetensors", 'weight_map = "a.safetensors"'),
        ({"x": 5}, "weight_map: x = 5"),
        ({"x": ["a.safetensors"]}, 'weight_map: x = ["a.safetensors"]'),
        ({"x": "n" * 5000 + ".safetensors"}, 'weight_map: x = "nnnnn'),
        ({"x": "../a.safetensors"}, 'weight_map: x = "../a.safetensors"'),
        ({"x": "/etc/a.safetensors"}, 'weight_map: x = "/etc/a.safetensors"'),
        ({"x": "..\\a.safetensors"}, 'weight_map: x = "..\\\\a.safetensors"'),
        ({"x": "a.bin"}, 'weight_map: x = "a.bin"'),
        ({"x": ""}, 'weight_map: x = ""'),
        ({"x": "\ud800.safetensors"}, 'weight_map: x = "\\ud800.safetensors"'),
        ({"x": "a\0.safetensors"}, 'weight_map: x = "a\\u0000.safetensors"'),
    ],
)
def test_an_index_names_files_beside_it_and_nothing_else(
    base: Path, weight_map: Any, what: str
) -> None:
    index = shard(base, weight_map)
    assert told(base).startswith(f"{index}: {what}")


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(base: Path) -> None:
    index = shard(base, {"x": "a.safetensors"})
    inside = base / "unet/a.safetensors"
    assert problems_of_base(base) == []
    elsewhere = inside.rename(base.parent / "a.safetensors")
    inside.symlink_to(elsewhere)
    assert told(base).startswith(f'{index}: weight_map: a.safetensors is a link to "{elsewhere}"')
    inside.unlink()
    inside.symlink_to(inside)
    assert f"{inside.name}" in told(base)
    inside.unlink()
    store = base.parent / "hub/models--someone--sdxl/blobs/0123"
    store.parent.mkdir(parents=True)
    inside.symlink_to(elsewhere.rename(store))
    assert problems_of_base(base) == []


def test_a_weight_that_stands_in_two_shards_is_refused(base: Path) -> None:
    shard(base, {"x": "a.safetensors", "y": "b.safetensors"})
    shutil.copy(base / "unet/a.safetensors", base / "unet/b.safetensors")
    assert told(base).startswith(
        f'{base}/unet/b.safetensors: holds "add_embedding.linear_1.bias", which another file of '
        "the unet holds too"
    )


@pytest.mark.parametrize("file", [UNET, TEXT, SCHEDULER, INDEX, "tokenizer/vocab.json"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 100_000, "has more than 32 lists and objects inside one another"),
        ('{"a":' * 100_000, "has more than 32 lists and objects inside one another"),
        ('{"a":' + "[" * 40 + "]" * 40 + "}", "has more than 32 lists and objects"),
        ("[1]", "is not a JSON object"),
        ('"x"', "is not a JSON object"),
        ("", "is not a JSON object"),
        ("{", "is not a JSON object"),
        ('{"a": ' + "9" * 5000 + "}", "is not a JSON object"),
        ('{"in_channels": 4, "in_channels": 9}', 'says "in_channels" twice'),
    ],
)
def test_a_file_that_is_no_configuration_is_named(
    base: Path, file: str, text: str, what: str
) -> None:
    if file.startswith("tokenizer/"):
        (base / "tokenizer/tokenizer.json").unlink()
    (base / file).write_text(text)
    assert told(base).startswith(f"{base / file}: {what}")


def test_bytes_that_are_no_text_and_pipes_are_named(base: Path) -> None:
    (base / UNET).write_bytes(b'{"a": "\xff"}')
    assert told(base).startswith(f"{base / UNET}: is not a JSON object")
    (base / UNET).unlink()
    os.mkfifo(base / UNET)
    assert "missing:\n    unet/config.json" in told(base)


def test_a_vocabulary_that_is_not_the_text_encoders_is_refused(base: Path) -> None:
    file = base / "tokenizer/tokenizer.json"
    file.unlink()
    vocabulary = json.loads((base / "tokenizer/vocab.json").read_text())
    (base / "tokenizer/vocab.json").write_text(json.dumps(vocabulary | {"strange": 846}))
    assert told(base) == (
        f"{base}/tokenizer: has 847 tokens; the text encoder knows 846\n"
        "  fix:     set base.tokenizer to the tokenizers that this model was trained with"
    )
    for wrong in ({"a": "b"}, {"a": None}, {"a": [1]}):
        (base / "tokenizer/vocab.json").write_text(json.dumps(wrong))
        assert told(base).startswith(f"{base}/tokenizer/vocab.json: is not a vocabulary")


@pytest.mark.parametrize("value", [None, 3, [], {}, {"content": 5}, "nowhere"])
@pytest.mark.parametrize("key", ["bos_token", "eos_token", "unk_token", "pad_token"])
def test_a_special_token_is_one_of_the_vocabulary(base: Path, key: str, value: object) -> None:
    file = base / "tokenizer_2/tokenizer_config.json"
    edit(file, {key: value})
    assert told(base) == (
        f"{file}: {key} = {json.dumps(value)}\n"
        "  allowed: a token of the vocabulary\n"
        "  fix:     fetch the model again, or choose another base.model"
    )
    edit(file, {key: {"content": "<|endoftext|>", "lstrip": False}})
    assert problems_of_base(base) == []


def test_the_check_needs_no_torch(base: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "for name in ('torch', 'diffusers', 'transformers', 'safetensors', 'numpy'):\n"
        "    sys.modules[name] = None\n"
        "from lora_recipes.base.check import problems_of_base\n"
        "print(problems_of_base(pathlib.Path(sys.argv[1])))"
    )
    run = [sys.executable, "-c", code, str(base)]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "name",
    ["n" * 100_000, "models/" + "n" * 300, "a/" * 30_000, "x\0y", "\ud800", "~nobody-at-all/x"],
)
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    for key, last in (("model", "pocket"), ("vae", "base"), ("tokenizer", "base")):
        with pytest.raises(UserError) as error:
            locate(
                Base.model_construct(**{"model": "pocket", "vae": "base"} | {key: name}), tmp_path
            )
        what, allowed, _ = str(error.value).splitlines()
        assert what.startswith(f"base.{key} = {name[:300]}")
        assert what.endswith(": no file or folder can be called that")
        assert allowed.endswith(f"or {last}")
        assert len(what) < 400

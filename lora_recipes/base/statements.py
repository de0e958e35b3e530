"""What a model predicts, from every place that can state it. Needs no torch.

The scheduler's configuration, other configurations, the metadata of the UNet's files (Stability's
modelspec, ComfyUI, kohya, OneTrainer). All of them have to agree: a model that is trained towards
the wrong target gives an adapter that makes noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_recipes.base.components import Located
from lora_recipes.base.folder import read_json
from lora_recipes.base.values import named, shown
from lora_recipes.errors import Problem, UserError, Wording
from lora_recipes.tensors import read_header

MEANING = {
    "epsilon": ("epsilon", "eps", "epsilon_prediction", "eps_prediction", "noise"),
    "v_prediction": ("v", "v_prediction", "vprediction", "v_pred", "vpred", "velocity"),
}
"""How programs spell the two predictions that can be trained."""

PREDICTION_KEYS = ("prediction_type", "predict_key", "parameterization", "prediction")
"""Last parts of metadata keys that name the prediction: `modelspec.prediction_type` is
Stability's, `modelspec.predict_key` is ComfyUI's."""

SWITCHES = {
    "v_parameterization": "v_prediction",
    "v_pred": "v_prediction",
    "force_v_prediction": "v_prediction",
    "force_epsilon_prediction": "epsilon",
    "zero_terminal_snr": "zero terminal SNR",
    "ztsnr": "zero terminal SNR",
    "zsnr": "zero terminal SNR",
    "rescale_betas_zero_snr": "zero terminal SNR",
    "rescale_noise_scheduler_to_zero_terminal_snr": "zero terminal SNR",
}
"""Last parts of metadata keys that mean something where they are true."""

TRUE = ("true", "1", "yes")
ASSUMED = "the scheduler of SDXL 1.0, which a single file is trained with,"
FIX: Wording = "choose another base.model, for example SDXL base 1.0"


@dataclass(frozen=True)
class Statement:
    """One place that says what the model predicts."""

    where: str
    key: str
    value: object
    meaning: str
    """`epsilon`, `v_prediction`, or what else it means; empty where that is not known."""

    def __str__(self) -> Wording:
        return f"{self.where} says {named(self.key)} = {shown(self.value)}"


def agreed_prediction(located: Located) -> str:
    """What the model predicts, `epsilon` or `v_prediction`, if all places say the same.

    The scheduler's word is what diffusers draws with; where it says nothing it means epsilon.

    Raises:
        UserError: two places differ, or one states what cannot be trained.
    """
    file = located.components["scheduler"].config / "scheduler_config.json"
    scheduler = read_json(file).get("prediction_type", "epsilon")
    own = ASSUMED if located.kind == "file" else str(file)
    first = Statement(own, "prediction_type", scheduler, _meaning(scheduler))
    others = list(_statements(located))
    problems = [_problem(other, first) for other in others if other.meaning != first.meaning]
    if not first.meaning:
        problems.insert(0, _problem(first, first))
    if problems:
        raise UserError(problems)
    return first.meaning


def _problem(other: Statement, first: Statement) -> Problem:
    what = f"{named(other.key)} = {shown(other.value)}"
    if other.meaning in MEANING:
        return Problem(
            where=other.where,
            what=f"{what}, but {first}",
            fix="find out what the model predicts and correct the other place, or choose another "
            "base.model: trained towards the wrong target, an adapter makes noise",
        )
    return Problem(
        where=other.where, what=f"{what}: this version cannot train such a model", fix=FIX
    )


def _statements(located: Located) -> Iterator[Statement]:
    unet = located.components["unet"]
    folder = unet.config.parent
    for file in (folder / "model_index.json", unet.config / "config.json"):
        config = read_json(file) if unet.layout == "diffusers" and file.is_file() else {}
        if config.get("prediction_type") is not None:
            value = config["prediction_type"]
            yield Statement(str(file), "prediction_type", value, _meaning(value))
    for file in unet.weights:
        for key, value in _with_settings(read_header(file).metadata):
            if meaning := _stated(key, value):
                yield Statement(str(file), key, value, meaning.removeprefix("?"))


def _with_settings(metadata: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """The metadata, and the settings of the training that OneTrainer puts there as JSON."""
    yield from metadata.items()
    try:
        settings: Any = json.loads(metadata.get("ot_config", "{}"))
    except (ValueError, RecursionError):
        return
    if isinstance(settings, dict):
        for key in settings.keys() & SWITCHES.keys():
            yield f"ot_config: {key}", settings[key]


def _stated(key: str, value: object) -> str:
    """What a field of the metadata means; empty if it says nothing, `?` if it is not understood."""
    last = key.lower().rpartition(".")[2].removeprefix("ss_").removeprefix("ot_config: ")
    text = str(value).strip().lower()
    if last in PREDICTION_KEYS and text not in ("", "none", "null"):
        return _meaning(value) or "?"
    return SWITCHES.get(last, "") if text in TRUE else ""


def _meaning(value: object) -> str:
    text = value.strip().lower().replace("-", "_") if isinstance(value, str) else ""
    return next((meaning for meaning, words in MEANING.items() if text in words), "")

"""What the tests want to know of each key: what it changes, and at which value it is off.

A new key needs a line in `ROWS` and, if it can be switched off, one in `OFF`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
"""By dotted key."""

OFF = {
    "base.vae": "base",
    "base.vae_revision": "none",
    "base.tokenizer": "base",
    "base.tokenizer_revision": "none",
    "dataset.trigger": "none",
    "dataset.class_word": "none",
    "dataset.caption.shuffle": False,
    "dataset.caption.tag_dropout": 0.0,
    "dataset.caption.keep_tokens": 0,
    "dataset.caption.keep_tokens_separator": "none",
    "dataset.caption.prefix": "none",
    "dataset.caption.suffix": "none",
    "dataset.caption.lines": False,
    "dataset.heldout": "none",
    "dataset.control": "none",
    "dataset.regularization": "none",
    "dataset.masks": "none",
    "dataset.flip": False,
    "prior.images": 0,
    "prepare.buckets": False,
    "prepare.upscale": False,
    "encode.max_tokens": 77,
    "train.prior_loss_weight": 1.0,
    "train.prior_batch_size": "auto",
    "train.warmup_steps": 0,
    "train.weight_decay": 0.0,
    "train.max_grad_norm": 0.0,
    "train.loss_weighting": "none",
    "train.noise_offset": 0.0,
    "train.caption_dropout": 0.0,
    "train.snapshots": (),
    "train.adafactor.relative_step": False,
    "train.adafactor.scale_parameter": False,
    "train.adafactor.warmup_init": False,
    "train.adafactor.beta1": "none",
    "sample.negative_prompt": "",
    "compute.adapter_precision": "fp32",
    "compute.gradient_checkpointing": False,
}
"""Frozen: what a missing key means in every adapter, resolved.yaml and lock that was ever written.
A new key is added here; none may change, and none may go as long as the key is there."""

HEADER = {
    "dataset.caption.shuffle": ("ss_shuffle_caption",),
    "dataset.caption.tag_dropout": ("ss_caption_tag_dropout_rate",),
    "dataset.caption.keep_tokens": ("ss_keep_tokens",),
    "encode.max_tokens": ("ss_max_token_length",),
    "dataset.flip": ("ss_flip_aug",),
    "prepare.buckets": ("ss_enable_bucket",),
    "lora.rank": ("ss_network_dim",),
    "lora.alpha": ("ss_network_alpha",),
    "train.gradient_accumulation": ("ss_gradient_accumulation_steps",),
    "train.prior_loss_weight": ("ss_prior_loss_weight",),
    "train.learning_rate": ("ss_learning_rate", "ss_unet_lr"),
    "train.scheduler": ("ss_lr_scheduler",),
    "train.warmup_steps": ("ss_lr_warmup_steps",),
    "train.optimizer": ("ss_optimizer",),
    "train.max_grad_norm": ("ss_max_grad_norm",),
    "train.snr_gamma": ("ss_min_snr_gamma",),
    "train.noise_offset": ("ss_noise_offset",),
    "train.caption_dropout": ("ss_caption_dropout_rate",),
    "train.seed": ("ss_seed",),
    "compute.gradient_checkpointing": ("ss_gradient_checkpointing",),
}
"""Which fields of an adapter's header hold a key's value. A change here changes the bytes of every
adapter with that key, and so retrains; a key that is off has none of them."""


@dataclass(frozen=True)
class Row:
    """One key, another value of it, and what must change."""

    key: str
    value: Any
    look: str
    """What is looked at: a function of test_every_key.py."""

    what: str = ""
    """The part of what is looked at; empty for any of it."""

    beside: Settings = field(default_factory=dict)
    """What else is set, before and after."""

    along: Settings = field(default_factory=dict)
    """What has to be set along with it. The code that reads the key gets it before as well, so
    that it is not what makes the difference; only a rule of the recipe would refuse it there."""

    refused: str = ""
    """Of what one of the two is refused with, where the key is a gate."""

    @property
    def before(self) -> Settings:
        return self.beside | self.along

    @property
    def after(self) -> Settings:
        return self.before | {self.key: self.value}


COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40
WORDS = {"dataset.trigger": "zwk", "dataset.class_word": "toy"}
SQUARES = {"prepare.resolution": 64, "prepare.crop": "center"} | WORDS
SHUFFLED = SQUARES | {"dataset.caption.shuffle": True}
BUCKETS = SQUARES | {
    "prepare.resolution": 96,
    "prepare.bucket_step": 16,
    "prepare.buckets": True,
}
SELF_PACED = {"train.learning_rate": "auto", "train.adafactor.relative_step": True}
ADAMW = {"train.optimizer": "adamw"}
CPU = {"compute.device": "cpu", "compute.precision": "fp32"}
LORA = {"lora.rank": 2, "lora.alpha": 2}
SMALL = CPU | LORA
MASKED = SMALL | {"dataset.masks": "alpha"}
KEEPING = SMALL | {"dataset.regularization": "reg"}
GENERATING = WORDS | {
    "prior.images": 2,
    "prior.steps": 1,
    "prior.guidance": 1.0,
    "prior.size": [64, 64],
    "prepare.resolution": 64,
    "prepare.crop": "center",
}


def row(key: str, value: Any, look: str, what: str = "", /, **more: Any) -> Row:
    return Row(key, value, look, what, **more)


ROWS = [
    row("base.model", "model", "located", beside={"base.model": "pocket", "base.revision": "none"}),
    row("base.revision", OTHER_COMMIT, "located",
        beside={"base.model": "some/one", "base.revision": COMMIT}),
    row("base.vae", "./other/vae", "located", beside={"base.model": "model"}),
    row("base.vae_revision", OTHER_COMMIT, "located",
        beside={"base.model": "pocket", "base.vae": "some/vae", "base.vae_revision": COMMIT}),
    row("base.tokenizer", "./other", "located", beside={"base.model": "model"}),
    row("base.tokenizer_revision", OTHER_COMMIT, "located",
        beside={"base.model": "pocket", "base.tokenizer": "some/words",
                "base.tokenizer_revision": COMMIT}),
    row("dataset.manifest", f"sha256:{'0' * 64}", "pictured", beside=SQUARES,
        refused="dataset.manifest"),
    row("dataset.trigger", "qqq", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.class_word", "cat", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.template", "{trigger}!", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.caption.shuffle", True, "pictured", "manifest.json", beside=SQUARES),
    row("dataset.caption.tag_dropout", 0.5, "pictured", "manifest.json", beside=SQUARES),
    row("dataset.caption.separator", ";", "pictured", "manifest.json", beside=SHUFFLED),
    row("dataset.caption.keep_tokens", 1, "pictured", "manifest.json", beside=SHUFFLED),
    row("dataset.caption.keep_tokens_separator", "|||", "pictured", "manifest.json",
        beside=SHUFFLED),
    row("dataset.caption.variants", 4, "pictured", "manifest.json", beside=SHUFFLED),
    row("dataset.caption.seed", 1, "pictured", "manifest.json", beside=SHUFFLED),
    row("dataset.caption.prefix", "once", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.caption.suffix", "again", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.caption.lines", True, "pictured", "manifest.json", beside=SQUARES),
    row("dataset.heldout", "held", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.control", "rest", "pictured", "manifest.json", beside=SQUARES),
    row("dataset.masks", "alpha", "pictured", "images/index.json", beside=SQUARES),
    row("dataset.flip", True, "pictured", "manifest.json", beside=SQUARES),
    row("dataset.regularization", "rest", "pictured", "manifest.json", beside=SQUARES),
    row("prior.images", 3, "generated", "index.json", beside=GENERATING),
    row("prior.prompts", ["a {word}"], "generated", "index.json", beside=GENERATING),
    row("prior.steps", 2, "generated", "0000.png", beside=GENERATING),
    row("prior.guidance", 2.0, "generated", "0000.png", beside=GENERATING),
    row("prior.seed", 1, "generated", "0000.png", beside=GENERATING),
    row("prior.size", [72, 64], "generated", "0000.png", beside=GENERATING),
    row("prepare.resolution", [72, 64], "pictured", "images/wide.png.png", beside=SQUARES),
    row("prepare.buckets", True, "pictured", "images/wide.png.png",
        beside=SQUARES | {"prepare.resolution": 96}, along={"prepare.bucket_step": 16}),
    row("prepare.bucket_step", 32, "pictured", "images/wide.png.png", beside=BUCKETS),
    row("prepare.min_bucket", 96, "pictured", "images/wide.png.png", beside=BUCKETS),
    row("prepare.max_bucket", 96, "pictured", "images/wide.png.png", beside=BUCKETS),
    row("prepare.crop", "random", "pictured", "images/wide.png.png", beside=SQUARES),
    row("prepare.upscale", True, "pictured", beside=SQUARES | {"prepare.resolution": 128},
        refused="prepare.upscale"),
    row("prepare.background", "black", "pictured", "images/clear.png.png", beside=SQUARES),
    row("prepare.seed", 1, "pictured", "images/wide.png.png",
        beside=SQUARES | {"prepare.crop": "random"}),
    row("encode.vae_precision", "fp16", "encoded", beside={"base.vae": "./vae"}),
    row("encode.max_tokens", 150, "encoded"),
    row("lora.rank", 3, "trained", "weights", beside=SMALL),
    row("lora.alpha", 4, "trained", "alpha", beside=SMALL),
    row("lora.targets", "transformer", "trained", "weights", beside=SMALL),
    row("train.repeats", 2, "trained", "weights", beside=SMALL),
    row("train.epochs", 2, "trained", "weights", beside=SMALL),
    row("train.steps", 2, "trained", "weights",
        beside=SMALL | {"train.epochs": "auto", "train.steps": 1}),
    row("train.batch_size", 2, "trained", "weights", beside=SMALL),
    row("train.gradient_accumulation", 2, "trained", "weights", beside=SMALL),
    row("train.prior_loss_weight", 0.5, "trained", "weights", beside=KEEPING),
    row("train.prior_batch_size", 2, "trained", "weights", beside=KEEPING),
    row("train.learning_rate", 0.02, "stepped"),
    row("train.scheduler", "linear", "stepped"),
    row("train.warmup_steps", 3, "stepped", beside={"train.scheduler": "linear"}),
    row("train.restarts", 2, "stepped", beside={"train.scheduler": "cosine_with_restarts"}),
    row("train.power", 2.0, "stepped", beside={"train.scheduler": "polynomial"}),
    row("train.optimizer", "adamw", "stepped"),
    row("train.weight_decay", 0.1, "stepped"),
    row("train.max_grad_norm", 0.001, "trained", "weights", beside=SMALL),
    row(
        "train.loss_weighting",
        "min_snr",
        "trained",
        "losses",
        beside=SMALL,
        along={"train.snr_gamma": 0.01},
    ),
    row(
        "train.snr_gamma",
        0.01,
        "trained",
        "losses",
        beside=SMALL | {"train.loss_weighting": "min_snr"},
    ),
    row("train.masked_loss.unmasked_weight", 0.5, "trained", "losses", beside=MASKED),
    row("train.masked_loss.normalize", False, "trained", "losses", beside=MASKED),
    row("train.noise_offset", 0.1, "trained", "losses", beside=SMALL),
    row("train.caption_dropout", 0.9, "trained", "losses", beside=SMALL),
    row("train.snapshots", [0.5], "trained", "snapshots", beside=SMALL),
    row("train.seed", 1, "trained", "losses", beside=SMALL),
    row("train.adafactor.relative_step", True, "stepped", along={"train.learning_rate": "auto"}),
    row("train.adafactor.scale_parameter", True, "stepped"),
    row("train.adafactor.warmup_init", True, "stepped", beside=SELF_PACED),
    row("train.adafactor.clip_threshold", 0.5, "stepped"),
    row("train.adafactor.eps", [1e-2, 1e-3], "stepped"),
    row("train.adafactor.decay_rate", -0.5, "stepped"),
    row("train.adafactor.beta1", 0.9, "stepped"),
    row("train.adamw.beta1", 0.5, "stepped", beside=ADAMW),
    row("train.adamw.beta2", 0.9, "stepped", beside=ADAMW),
    row("train.adamw.eps", 0.1, "stepped", beside=ADAMW),
    row("sample.prompts", ["a blue ring"], "sampled"),
    row("sample.negative_prompt", "red", "sampled"),
    row("sample.seeds", [1], "sampled"),
    row("sample.steps", 3, "sampled"),
    row("sample.guidance", 2.0, "sampled"),
    row("sample.strength", 1.5, "sampled"),
    row("sample.size", [64, 64], "sampled"),
    row("compute.device", "mps", "computed", refused="compute.device = mps"),
    row("compute.precision", "bf16", "trained", "losses", beside=SMALL),
    row("compute.adapter_precision", "base", "trained", "losses",
        beside=SMALL | {"compute.precision": "bf16"}),
    row("compute.threads", 2, "computed", "threads", beside=CPU),
    row("compute.attention", "math", "computed", "fused attention", beside=CPU),
    row("compute.gradient_checkpointing", True, "trained", "times through a feed-forward layer",
        beside=SMALL),
    row("compute.deterministic", False, "computed", "deterministic", beside=CPU),
    row("runtime.workers", 1, "trained", "workers", beside=SMALL),
    row("runtime.processes", 2, "shared"),
    row("runtime.nodes", 2, "shared"),
    row("runtime.checkpoint_every", 1, "trained", "checkpoints", beside=SMALL),
    row("runtime.log_every", 2, "trained", "news", beside=SMALL),
    row("runtime.progress", "off", "told"),
]  # fmt: skip

"""How long to train, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Seed, Short
from lora_recipes.recipe.sections.optimizers import AdafactorSettings, AdamwSettings
from lora_recipes.recipe.sections.section import BelongsTo, HeaderField, Off, Section

Rate = Annotated[float, Field(gt=0, le=0.1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Scheduler = Literal[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
]


class Train(Section):
    """How long to train, and how the learning rate moves."""

    repeats: Annotated[
        int,
        Field(ge=1, le=100_000),
        Advised(30, 120),
        Short("how often an epoch shows each image"),
    ] = 80
    """How often each image is seen in an epoch.

    Higher: learns longer; too long, and the adapter copies its images. Lower: quicker, looser.
    With: samples = images × repeats × epochs: 50 × 10 × 2 = 1,000. With `train.steps` a number,
    it only says after how many samples a new order is drawn.
    Source: Segmind, "Understanding Dreambooth LoRA Fine-tuning Parameters".
    """

    epochs: Annotated[
        Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"],
        Short("a number, or auto with steps"),
    ] = 1
    """Passes over the whole data (with repeats), or `auto` if `train.steps` gives the length.

    Higher: learns longer; too long, and the adapter copies its images. Lower: quicker, looser.
    With: `train.repeats`. Exactly one of `train.epochs` and `train.steps` is a number.
    Source: Segmind, "Understanding Dreambooth LoRA Fine-tuning Parameters".
    """

    steps: Annotated[
        Annotated[int, Field(ge=1, le=10_000_000)] | Literal["auto"],
        Short("a number, or auto with epochs"),
    ] = "auto"
    """Exactly so many optimizer steps, or `auto` if `train.epochs` gives the length.

    Higher: learns longer. Lower: quicker.
    With: each step sees `train.batch_size` × `train.gradient_accumulation` images. Exactly one of
    `train.epochs` and `train.steps` is a number.
    Source: diffusers, examples/dreambooth (`--max_train_steps`).
    """

    batch_size: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many images go through the model at once.

    Higher: steadier gradients and better use of a GPU; memory grows with it. Lower: less memory.
    With: the learning rate that suits grows about with the square root of the batch.
    Source: spacepxl/demystifying-sd-finetuning; the default is assumed, not published.
    """

    gradient_accumulation: Annotated[
        int, Field(ge=1, le=4096), HeaderField("ss_gradient_accumulation_steps")
    ] = 4
    """How many batches are averaged into one optimizer step.

    Higher: steadier gradients and fewer steps at the memory of one batch. Lower: more steps.
    With: optimizer steps = samples / (batch_size × gradient_accumulation), rounded up.
    Source: Segmind, "Understanding Dreambooth LoRA Fine-tuning Parameters".
    """

    learning_rate: Annotated[
        Rate | Literal["auto"],
        Advised(1e-6, 1e-2),
        HeaderField("ss_learning_rate"),
        HeaderField("ss_unet_lr"),
        Short("a number, or auto with relative_step"),
    ] = 1e-4
    """The peak learning rate, per optimizer step, or `auto` if the optimizer finds it itself.

    Higher: learns faster; too high, and pictures burn or fall apart. Lower: slower, gentler.
    With: `auto` belongs to `train.adafactor.relative_step: true` and to nothing else.
    Source: Segmind, "Understanding Dreambooth LoRA Fine-tuning Parameters".
    """

    scheduler: Annotated[
        Scheduler,
        HeaderField("ss_lr_scheduler"),
        Short("constant, constant_with_warmup, linear, cosine, …"),
    ] = "constant"
    """How the learning rate moves from step to step.

    `constant`: not at all. `constant_with_warmup`: after a ramp, not at all. `linear`: ramp, then
    straight to 0. `cosine`: ramp, then a half wave to 0. `cosine_with_restarts`: ramp, then
    `train.restarts` half waves, each from the peak to 0. `polynomial`: ramp, then to 1e-7 along a
    power curve.
    With: `train.warmup_steps`, `train.restarts`, `train.power`.
    Source: transformers, optimization.py; default and first choices: Segmind.
    """

    warmup_steps: Annotated[
        int,
        Field(ge=0, le=10_000_000),
        Off(0),
        BelongsTo(
            "train.scheduler", but=("constant",), fix="write `scheduler: constant_with_warmup`"
        ),
        HeaderField("ss_lr_warmup_steps"),
    ] = 0
    """The optimizer steps of a linear ramp from 0 to the peak. 0 is no ramp.

    Higher: a gentler start, less time at the peak. Lower: at the peak sooner.
    With: any scheduler but plain `constant`; must be shorter than the training.
    Source: transformers, optimization.py.
    """

    restarts: Annotated[
        int, Field(ge=1, le=1000), BelongsTo("train.scheduler", ("cosine_with_restarts",))
    ] = 1
    """How many half waves `cosine_with_restarts` makes.

    Higher: more jumps back to the peak. Lower: fewer; 1 is a plain cosine.
    With: belongs to `train.scheduler: cosine_with_restarts`.
    Source: transformers, optimization.py (`num_cycles`).
    """

    power: Annotated[float, Field(gt=0, le=10), BelongsTo("train.scheduler", ("polynomial",))] = 1.0
    """The exponent of the `polynomial` schedule.

    Higher: falls early, then flat. Lower: stays high, then falls; 1 is a straight line.
    With: belongs to `train.scheduler: polynomial`.
    Source: transformers, optimization.py.
    """

    optimizer: Annotated[
        Literal["adafactor", "adamw"], HeaderField("ss_optimizer"), Short("adafactor or adamw")
    ] = "adafactor"
    """The rule that turns gradients into steps.

    `adafactor`: hardly any memory of its own, clips its own updates. `adamw`: two numbers of
    memory per weight; the common choice.
    With: `train.adafactor.*` or `train.adamw.*`; settings of the other one are errors.
    Source: Segmind; Shazeer & Stern 2018, arXiv:1804.04235; Loshchilov & Hutter 2019,
    arXiv:1711.05101.
    """

    weight_decay: Annotated[float, Field(ge=0, le=1), Advised(0, 0.1), Off(0.0)] = 0.01
    """How much of the adapter's weights is taken off at each step, times the learning rate.

    Higher: a weaker, more general adapter. Lower: nothing is taken off at 0.
    With: `train.learning_rate`; decoupled from the gradient in both optimizers.
    Source: Segmind; Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    max_grad_norm: Annotated[
        float,
        Field(ge=0, le=1000),
        Advised(0.5, 2, also=(0,)),
        Off(0.0),
        HeaderField("ss_max_grad_norm"),
        Short("0 is off"),
    ] = 0.0
    """Gradients whose global norm is larger are scaled down to it. 0: they are not clipped.

    Higher: clips rarely. Lower: clips often, an even but slower path; 0 is off, not "to zero".
    With: Adafactor also clips its own update, at `train.adafactor.clip_threshold`.
    Source: Segmind; Pascanu et al. 2013, arXiv:1211.5063.
    """

    loss_weighting: Annotated[Literal["none", "min_snr"], Off("none"), Short("none or min_snr")] = (
        "none"
    )
    """How much each sample's error counts, by how noisy the sample is.

    `none`: all alike. `min_snr`: nearly clean samples count less, so that they do not drown the
    others; trainings settle sooner.
    With: `train.snr_gamma`. The losses that are told and drawn are the weighted ones, which
    cannot be compared with unweighted ones; those on held-out pictures are never weighted.
    Source: Hang et al. 2023, arXiv:2303.09556.
    """

    snr_gamma: Annotated[
        float,
        Field(gt=0, le=1000),
        Advised(1, 20),
        BelongsTo("train.loss_weighting", ("min_snr",)),
        HeaderField("ss_min_snr_gamma"),
    ] = 5.0
    """The signal-to-noise ratio above which `min_snr` lowers a sample's weight.

    Higher: fewer samples count less; 1000 is nearly no weighting. Lower: more of them do.
    With: belongs to `train.loss_weighting: min_snr`.
    Source: Hang et al. 2023, arXiv:2303.09556, section 3.4; the paper and kohya use 5.
    """

    noise_offset: Annotated[
        float,
        Field(ge=0, le=1),
        Advised(0, 0.5),
        Off(0.0),
        HeaderField("ss_noise_offset"),
        Short("0 is off"),
    ] = 0.0
    """Noise that is the same over a whole channel of a picture is added, with this strength.

    Higher: reaches darker and brighter pictures; too high, and colours break. Lower: SDXL as it
    is; 0 is off.
    With: switching it on changes no other random draw.
    Source: Segmind; N. Guttenberg, "Diffusion With Offset Noise" (crosslabs.org, 2023).
    """

    caption_dropout: Annotated[
        float,
        Field(ge=0, le=1),
        Advised(0, 0.3),
        Off(0.0),
        HeaderField("ss_caption_dropout_rate"),
        Short("0 is off"),
    ] = 0.0
    """The share of looks at which a picture is shown with the empty text instead of its caption.

    Higher: more is learned without words, so the subject or style shows without its trigger too.
    Lower: all is tied to the words; 0 is off.
    With: which look it is, is a draw of its own and moves no other; pictures that are never
    trained on keep their captions. `dataset.caption.tag_dropout` leaves out single tags.
    Source: Ho & Salimans 2022, arXiv:2207.12598, section 3.2; kohya-ss/sd-scripts
    (`caption_dropout_rate`).
    """

    snapshots: Annotated[
        tuple[Fraction, ...],
        Field(strict=False),
        Off(()),
        Short("such as [0.25, 0.5, 0.75]"),
    ] = ()
    """Parts of the training after which the adapter is kept too, such as [0.25, 0.5, 0.75].

    With: the report shows pictures of each; the best epoch is often not the last. Ascending,
    between 0 and 1.
    Source: kohya_ss presets (`save_every_n_epochs`).
    """

    seed: Annotated[Seed, HeaderField("ss_seed")] = 0
    """Where the chance of training starts: adapter init, order, noise, timesteps.

    Another number gives another, equally good adapter.
    Source: this project; each draw depends on (seed, purpose, epoch, sample) alone.
    """

    adafactor: Annotated[AdafactorSettings, BelongsTo("train.optimizer", ("adafactor",))] = (
        AdafactorSettings()
    )
    """The settings of Adafactor. Source: transformers, optimization.py."""

    adamw: Annotated[AdamwSettings, BelongsTo("train.optimizer", ("adamw",))] = AdamwSettings()
    """The settings of AdamW. Source: torch.optim.AdamW."""

"""Encoding a whole dataset: every picture and every caption once, one model after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lora_recipes.base.components import TOKENS
from lora_recipes.base.compute import DTYPES, device_name, free_memory, set_up
from lora_recipes.base.facts import read_facts
from lora_recipes.base.load import load_text_encoders, load_vae
from lora_recipes.base.locate import component_hashes, locate
from lora_recipes.encode.moments import encode_file
from lora_recipes.encode.pictures import PreparedPicture
from lora_recipes.encode.reuse import Encoded, Reuse
from lora_recipes.encode.store import EncodedIndex, Example, write_file, write_index
from lora_recipes.encode.text import encode_caption
from lora_recipes.files import all_or_nothing
from lora_recipes.pipeline import stage
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.windows import tokens_read
from lora_recipes.reporting import Reporter

EMPTY = ""
"""Encoded always, so that `train.caption_dropout` reruns nothing but the training."""

TEXT_PARTS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


@dataclass(frozen=True)
class Settings:
    """What encoding depends on besides the pictures."""

    base: Base
    encode: Encode
    compute: Compute
    code: str
    """Hash of the stage's code."""


@dataclass(frozen=True)
class Places:
    """Folders: the project's, the one to write, and the project's own `.lora`."""

    root: Path
    out: Path
    own: Path


@dataclass(frozen=True)
class Work:
    """One kind of thing to encode, all by one model."""

    kind: str
    what: str
    items: Mapping[str, PreparedPicture]
    """Pixels' hashes or texts, each once, with the first picture that has it."""
    cache_key: Mapping[str, object]
    model: str
    """Which model does it, for a message."""
    load: Callable[[], Any]
    encode: Callable[[Any, str, PreparedPicture], Encoded]


def encode(
    pictures: Sequence[PreparedPicture],
    settings: Settings,
    manifest: str,
    places: Places,
    report: Reporter,
) -> None:
    """Write `places.out` afresh: moments, embeddings, the index; nothing stays of it on failure.

    The VAE computes in `encode.vae_precision`, the text encoders in fp32 on every device. Memory
    does not grow with the number of pictures. No model is loaded where all is known.

    Args:
        manifest: the dataset's hash, for the index.

    Raises:
        UserError: the base model is not complete, or a model gave a number that is not finite.
    """
    located = locate(settings.base, places.root)
    facts = read_facts(located)
    hashes = component_hashes(located, places.own / "hashes.json")
    device = set_up(settings.compute).device
    with all_or_nothing(places.out):
        works = _works(pictures, settings, places, device, hashes)
        moments, texts = (_run(work, places, report) for work in works)
        images = tuple(
            _example(picture, moments[picture.pixels], [texts[text].name for text in picture.texts])
            for picture in pictures
        )
        for picture in pictures:
            _tell_what_is_cut(picture, texts, settings.encode, report)
        components = {name: hashes[name] for name in ("vae", *TEXT_PARTS)}
        write_index(
            places.out,
            EncodedIndex(
                images,
                manifest,
                facts.latent_scale,
                facts.prediction,
                components,
                texts[EMPTY].name,
            ),
        )


def _works(
    pictures: Sequence[PreparedPicture],
    settings: Settings,
    places: Places,
    device: torch.device,
    hashes: Mapping[str, str],
) -> tuple[Work, Work]:
    """What the VAE encodes, and what the text encoders do."""
    base, root, precision = settings.base, places.root, settings.encode.vae_precision
    known, tokens = _cache_key(settings, device), settings.encode.max_tokens
    longer = {} if tokens == TOKENS else {"max_tokens": tokens}
    moments = Work(
        kind="moments",
        what="pictures",
        items=_each_once((picture.pixels, picture) for picture in pictures),
        cache_key=known | {"vae": hashes["vae"], "precision": precision},
        model=f"the VAE of {base.model}",
        load=lambda: load_vae(base, root, DTYPES[precision], device),
        encode=lambda vae, _, picture: encode_file(vae, picture.file, picture.path),
    )
    texts = Work(
        kind="text",
        what="texts",
        items=_each_once(
            (text, picture) for picture in pictures for text in (*picture.texts, EMPTY)
        ),
        cache_key=known | {name: hashes[name] for name in TEXT_PARTS} | longer,
        model=f"the text encoders of {base.model}",
        load=lambda: load_text_encoders(base, root, torch.float32, device),
        encode=lambda encoders, text, picture: encode_caption(encoders, text, picture.path, tokens),
    )
    return moments, texts


def _each_once(items: Iterable[tuple[str, PreparedPicture]]) -> dict[str, PreparedPicture]:
    """Each source with the first picture that has it, in order."""
    first: dict[str, PreparedPicture] = {}
    for source, picture in items:
        first.setdefault(source, picture)
    return first


def _cache_key(settings: Settings, device: torch.device) -> dict[str, object]:
    """What changes the bytes of every encoding on this machine."""
    compute = settings.compute
    return {
        "code": settings.code,
        "device": device_name(device),
        "threads": compute.threads,
        "attention": compute.attention,
        "deterministic": compute.deterministic,
        "packages": {name: version(name) for name in stage("encode").packages},
    }


@dataclass(frozen=True)
class Written:
    """What was encoded: the file's name, and what was noted."""

    name: str
    notes: Mapping[str, str]


def _run(work: Work, places: Places, report: Reporter) -> dict[str, Written]:
    """Encode what is not known yet, and write all of it; the files by what they were made from."""
    reuse = Reuse(places.own / "encoded" / work.kind, work.cache_key)
    written: dict[str, Written] = {}

    def keep(source: str, encoded: Encoded) -> None:
        name = write_file(places.out, work.kind, encoded.tensors)
        written[source] = Written(name, encoded.notes)

    new = []
    for source in work.items:
        known = reuse.get(source)
        if known is None:
            new.append(source)
        else:
            keep(source, known)
    if new:
        with report.loading(work.model):
            model = work.load()
        with report.bar(f"encode {work.what}", len(work.items), len(written)) as bar:
            for source in new:
                encoded = work.encode(model, source, work.items[source])
                reuse.put(source, encoded)
                keep(source, encoded)
                bar.advance()
        del model
        free_memory()
    report.say(f"{work.what}: {len(new)} encoded, {len(work.items) - len(new)} known")
    return written


def _tell_what_is_cut(
    picture: PreparedPicture, texts: Mapping[str, Written], encode: Encode, report: Reporter
) -> None:
    """Of the texts of one picture, the longest is enough."""
    longest = max((texts[text].notes for text in picture.texts), key=lambda it: int(it["tokens"]))
    if not longest["cut"]:
        return
    report.warn(
        f"{picture.path}: its caption has {longest['tokens']} tokens, of which encode.max_tokens = "
        f"{encode.max_tokens} reads {tokens_read(encode.max_tokens)}; cut off: {longest['cut']}"
    )


def _example(picture: PreparedPicture, moments: Written, texts: Sequence[str]) -> Example:
    return Example(
        path=picture.path,
        role=picture.role,
        repeats=picture.repeats,
        moments=moments.name,
        texts=tuple(texts),
        time_ids=picture.time_ids,
    )

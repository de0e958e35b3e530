"""Whether a tokenizer is the one that a text encoder was trained with. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lora_recipes.base.components import TOKENIZERS, Component
from lora_recipes.base.folder import read_json
from lora_recipes.base.values import mismatch
from lora_recipes.errors import Problem, UserError


def problems_of_tokenizers(
    parts: Mapping[str, Component], configs: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Whether each vocabulary is its text encoder's; a damaged file is an error of its own."""
    for name in TOKENIZERS:
        if name not in parts:
            continue
        words = _words(parts[name].config)
        size = configs.get(name.replace("tokenizer", "text_encoder"), {}).get("vocab_size")
        if size is not None and len(words) != size:
            yield Problem(
                where=str(parts[name].config),
                what=f"has {len(words):,} tokens; the text encoder knows {size:,}",
                fix="set base.tokenizer to the tokenizers that this model was trained with",
            )
        yield from _problems_of_special_tokens(parts[name].config, words)


def _problems_of_special_tokens(folder: Path, words: set[str]) -> Iterator[Problem]:
    """Whether what starts, ends and fills a caption is a token of the vocabulary."""
    file = folder / "tokenizer_config.json"
    config = read_json(file) if file.is_file() else {}
    for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = config.get(key, "")
        text = value.get("content") if isinstance(value, dict) else value
        if key in config and not (isinstance(text, str) and text in words):
            yield mismatch(str(file), key, value, "a token of the vocabulary")


def _words(folder: Path) -> set[str]:
    """A tokenizer's tokens, those that its configuration adds included."""
    words: set[str] = set()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            words |= set(found) if name == "added_tokens.json" else set()
            words |= _added(found.get("added_tokens_decoder"))
    whole = folder / "tokenizer.json"
    if whole.is_file():
        file, found = whole, read_json(whole)
        model = found.get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        words |= _added(found.get("added_tokens"))
    else:
        file = folder / "vocab.json"
        vocabulary = read_json(file)
    if not isinstance(vocabulary, dict) or not all(type(n) is int for n in vocabulary.values()):
        raise UserError.of(
            where=str(file),
            what="is not a vocabulary: a number for each token",
            fix="fetch the tokenizer's files again",
        )
    return words | set(vocabulary)


def _added(tokens: Any) -> set[str]:
    """The texts of added tokens: a list of them, or an object by number."""
    listed = tokens.values() if isinstance(tokens, dict) else tokens
    if not isinstance(listed, (list, type({}.values()))):
        return set()
    texts = [token.get("content") for token in listed if isinstance(token, dict)]
    return {text for text in texts if isinstance(text, str)}

"""The pocket's tokenizers: byte-level CLIP BPE with merges for the words that prompts use."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from lora_recipes.base.components import TOKENS
from pocket_training import world

START, END = "<|startoftext|>", "<|endoftext|>"
COMMON_WORDS = """a an and at of in on with the to by no not for is it from under over near
two three photo picture image drawing painting illustration sketch portrait icon sign render art
style background backgrounds wall floor room front behind ground light dark bright color colour
colored plain striped dotted small big large little round simple clean beautiful high quality
detailed blurry ugly low bad worst best toy toys thing object dog cat person man woman figure
shape class gray grey brown cyan gold silver shaped"""


def words() -> list[str]:
    """Every word that is one token: the world's own and common ones of prompts."""
    named = [*world.COLOURS, *world.RESERVED, *world.SHAPES, *world.PATTERNS, *world.NOUNS]
    return list(dict.fromkeys([*named, *COMMON_WORDS.split()]))


def byte_symbols() -> list[str]:
    """One printable character per byte, in the order of CLIP's vocabulary.

    Printable Latin-1 characters stand for themselves, the other 68 bytes for U+0100 onward.
    Source: the byte-level BPE of GPT-2 (Radford et al. 2019), which CLIP uses.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(0x100, 0x100 + others))]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token to id, and the merges in order; the last two ids are the start and the end."""
    symbols = byte_symbols()
    tokens = dict.fromkeys([*symbols, *(symbol + "</w>" for symbol in symbols)])
    merges: dict[tuple[str, str], None] = {}
    for word in words():
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            first = _known_pair(parts, merges)
            pair = parts[first], parts[first + 1]
            merges[pair] = None
            parts[first : first + 2] = ["".join(pair)]
            tokens["".join(pair)] = None
    everything = [*tokens, START, END]
    return {token: number for number, token in enumerate(everything)}, list(merges)


def _known_pair(parts: list[str], merges: dict[tuple[str, str], None]) -> int:
    """Where BPE would merge next: at the earliest known merge, else at the first pair."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    pairs = list(pairwise(parts))
    return min(range(len(pairs)), key=lambda i: (ranks.get(pairs[i], len(ranks)), i))


def new_tokenizer(folder: Path, pad_token: str) -> CLIPTokenizer:
    """Writes vocab.json and merges.txt into the folder and loads them."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, merges = vocabulary()
    vocab_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocab_file.write_text(json.dumps(ids, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    merges_file.write_text("\n".join(lines) + "\n", "utf-8")
    return CLIPTokenizer(
        vocab=str(vocab_file),
        merges=str(merges_file),
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=pad_token,
        model_max_length=TOKENS,
    )

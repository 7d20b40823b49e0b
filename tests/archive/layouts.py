"""Tokenizers in the layouts that people have, written beside a checkpoint's config.json."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import import_protobuf

from tests.archive.checkpoints import EMBEDDED_MODEL, ROOT

Json = dict[str, Any]
Write = Callable[[Path], None]

PROSE = (ROOT / "archive" / "prose" / "evaluation.txt").read_text(encoding="utf-8")[:60_000]
SIZE = len(json.loads((EMBEDDED_MODEL / "tokenizer.json").read_text())["model"]["vocab"])


def embedded() -> Json:
    """The embedded model's tokenizer.json, to be changed."""
    data: Json = json.loads((EMBEDDED_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
    return data


def save(directory: Path, name: str, **content: Any) -> None:
    (directory / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def token(content: str, **flags: Any) -> Json:
    """An added token as files have it; people's is normalized and not special, unless they say."""
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "special"), False)
    return {"content": content, **plain, "normalized": True, **flags}


def template(*single: str, special: dict[str, int]) -> Json:
    """A post-processor that puts tokens around a text, which is `$A`."""

    def part(name: str) -> Json:
        kind = "Sequence" if name == "$A" else "SpecialToken"
        return {kind: {"id": name.strip("$"), "type_id": 0}}

    tokens = {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in special.items()}
    parts = [part(name) for name in single]
    return {
        "type": "TemplateProcessing",
        "single": parts,
        "pair": [*parts, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": tokens,
    }


def file(config: Json | None = None, added: tuple[Json, ...] = (), **changes: Any) -> Write:
    """tokenizer.json with changes, and tokens added behind the last one."""

    def write(directory: Path) -> None:
        data = embedded() | changes
        data["added_tokens"] += [{"id": SIZE + place, **entry} for place, entry in enumerate(added)]
        save(directory, "tokenizer.json", **data)
        if config is not None:
            save(directory, "tokenizer_config.json", **config)

    return write


def legacy(*, line_end: str = "\n", **files: Json) -> Write:
    """vocab.json and merges.txt, GPT-2's first layout, and other files by their names."""

    def write(directory: Path) -> None:
        model = embedded()["model"]
        save(directory, "vocab.json", **model["vocab"])
        lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"]), ""]
        (directory / "merges.txt").write_bytes(line_end.join(lines).encode("utf-8"))
        for name, content in files.items():
            save(directory, f"{name}.json", **content)

    return write


def trained(tokenizer: Tokenizer, trainer: Any, config: Json, lines: bool = True) -> Write:
    """tokenizer.json of another kind, learnt from prose."""

    def write(directory: Path) -> None:
        tokenizer.train_from_iterator(PROSE.split("\n") if lines else [PROSE], trainer)
        tokenizer.save(str(directory / "tokenizer.json"))
        save(directory, "tokenizer_config.json", **config)

    return write


def word_piece(named_in: str) -> Write:
    """BERT's vocab.txt, as Chinese GPT-2s have it."""

    def write(directory: Path) -> None:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(
            vocab_size=3000, special_tokens=special, show_progress=False
        )
        tokenizer.train_from_iterator([PROSE, "你好世界东京"], trainer)
        words = tokenizer.get_vocab()
        text = "\n".join(sorted(words, key=words.__getitem__))
        (directory / "vocab.txt").write_text(text + "\n", encoding="utf-8")
        path = directory / named_in
        found = json.loads(path.read_text()) if path.exists() else {}
        save(directory, named_in, **found | {"tokenizer_class": "BertTokenizer"})

    return write


def llama(directory: Path) -> None:
    """SentencePiece BPE with byte fallback, as tokenizer.json."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    units = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<unk>", "<s>", "</s>", *units],
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(PROSE.split("\n"), trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] not in units]
    data["post_processor"] = template("<s>", "$A", special={"<s>": 1})
    save(directory, "tokenizer.json", **data)
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    save(directory, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", **names)


def sentence_piece(name: str, tokenizer_class: str, *, bpe: bool, units: bool) -> Write:
    """A SentencePiece model of its own format, built by hand."""

    def write(directory: Path) -> None:
        proto = import_protobuf().ModelProto()
        proto.trainer_spec.model_type = 2 if bpe else 1
        proto.trainer_spec.byte_fallback = units
        proto.trainer_spec.unk_id = 0
        proto.normalizer_spec.name = "identity"
        pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
        pieces += [(f"<0x{byte:02X}>", 6) for byte in range(256)] if units else []
        words = ["▁t", "he", "▁the", "▁a", "in", "on", "▁", *"abcdefghijklmnopqrstuvwxyz.,T"]
        pieces += [(word, 1) for word in words]
        for place, (piece, kind) in enumerate(pieces):
            proto.pieces.add(piece=piece, score=-float(place), type=kind)
        proto.trainer_spec.vocab_size = len(pieces)
        (directory / name).write_bytes(proto.SerializeToString())
        save(directory, "tokenizer_config.json", tokenizer_class=tokenizer_class)

    return write


def ends_of_words(
    config: Json, special: tuple[str, ...] = ("<unk>",), bytes_: bool = False
) -> Write:
    """BPE whose words end with `</w>`: GPT-1's, or CLIP's over bytes, in the first layout."""

    def write(directory: Path) -> None:
        tokenizer = Tokenizer(models.BPE(unk_token=special[0], end_of_word_suffix="</w>"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = (
            pre_tokenizers.Sequence(
                [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            )
            if bytes_
            else pre_tokenizers.BertPreTokenizer()
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet() if bytes_ else []
        trainer = trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=[*special, *sorted(f"{letter}</w>" for letter in alphabet)],
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        )
        tokenizer.train_from_iterator(PROSE.split("\n"), trainer)
        model = json.loads(tokenizer.to_str())["model"]
        if config["tokenizer_class"] == FAST["tokenizer_class"]:
            tokenizer.decoder = decoders.BPEDecoder()
            tokenizer.save(str(directory / "tokenizer.json"))
        else:
            save(directory, "vocab.json", **model["vocab"])
            lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"]), ""]
            (directory / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
        save(directory, "tokenizer_config.json", **config)

    return write


FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
ENDS = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
SPEAKERS = ["<|speaker1|>", "<|speaker2|>"]
BYTES = embedded()["pre_tokenizer"]


def metaspace() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def whole_words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def single_letters(directory: Path) -> None:
    """One token a letter: word level without a decoder of spaces, as toy models have it."""
    letters = {letter: place for place, letter in enumerate(sorted(set(PROSE)))}
    tokenizer = Tokenizer(models.WordLevel({**letters, "[UNK]": len(letters)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(directory / "tokenizer.json"))
    save(directory, "tokenizer_config.json", **FAST, unk_token="[UNK]")


# Case, and where the layout comes from is in docs/packaging.md.
LAYOUTS: dict[str, Write] = {
    "tokenizer.json alone": file(),
    "tokenizer.json of the hub's gpt2": file({"model_max_length": 1024}),
    "tokenizer.json with add_bos_token": file({"add_bos_token": True}),
    "tokenizer.json with add_prefix_space": file({"add_prefix_space": True}),
    "a prefix space in tokenizer.json": file(pre_tokenizer=BYTES | {"add_prefix_space": True}),
    "a prefix space in a general tokenizer.json": file(
        FAST, pre_tokenizer=BYTES | {"add_prefix_space": True}
    ),
    "tokenizer.json with a token in front": file(
        post_processor=template("<|endoftext|>", "$A", special={"<|endoftext|>": 0})
    ),
    "tokenizer.json with an end appended": file(
        post_processor=template("$A", "<|endoftext|>", special={"<|endoftext|>": 0})
    ),
    "tokenizer.json with turn marks": file(
        added=tuple(token(name, special=True, normalized=False) for name in SPEAKERS)
    ),
    "tokenizer.json with tokens of all flags": file(
        added=(
            token("<left>", lstrip=True, normalized=False),
            token("<right>", rstrip=True, special=True, normalized=False),
            token("word", single_word=True),
            token("hé x"),
        )
    ),
    "tokenizer.json cuts and pads": file(
        truncation={
            "direction": "Right",
            "max_length": 8,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        padding={
            "strategy": {"Fixed": 16},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        },
    ),
    "special tokens are split like words": file({"split_special_tokens": True}),
    "tokens named in tokenizer_config.json": file(
        {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": token("<bos>") | {"__type": "AddedToken"},
            "pad_token": "<pad>",
            "cls_token": "<cls>",
            "additional_special_tokens": SPEAKERS,
        }
    ),
    "normalized text": file(FAST, normalizer={"type": "Lowercase"}),
    "normalized text that GPT-2's class ignores": file(normalizer={"type": "Lowercase"}),
    "single digits": file(
        FAST,
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES],
        },
    ),
    "vocab.json and merges.txt": legacy(),
    "merges.txt with CRLF": legacy(line_end="\r\n"),
    "legacy with add_bos_token": legacy(tokenizer_config={"add_bos_token": True}),
    "legacy with a beginning and an end": legacy(
        tokenizer_config={"add_bos_token": True, "add_eos_token": True}
    ),
    "legacy with add_prefix_space": legacy(tokenizer_config={"add_prefix_space": True}),
    "legacy with special_tokens_map.json": legacy(
        special_tokens_map={"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    ),
    "legacy with added_tokens.json": legacy(
        added_tokens={name: SIZE + place for place, name in enumerate([*SPEAKERS, "[PAD]"])},
        special_tokens_map={**ENDS, "pad_token": "[PAD]", "additional_special_tokens": SPEAKERS},
    ),
    "legacy with added_tokens_decoder": legacy(
        tokenizer_config={
            **ENDS,
            "tokenizer_class": "GPT2Tokenizer",
            "added_tokens_decoder": {
                "0": token("<|endoftext|>", special=True),
                str(SIZE): token("<left>", lstrip=True, normalized=False),
                str(SIZE + 1): token("<right>", rstrip=True, special=True, normalized=False),
                str(SIZE + 2): token("word", single_word=True),
            },
        }
    ),
    "BERT's vocab.txt, class in tokenizer_config.json": word_piece("tokenizer_config.json"),
    "BERT's vocab.txt, class in config.json": word_piece("config.json"),
    "SentencePiece BPE with bytes, as tokenizer.json": llama,
    "unigram, as tokenizer.json": trained(
        metaspace(),
        trainers.UnigramTrainer(
            vocab_size=2000,
            special_tokens=["<pad>", "</s>", "<unk>"],
            unk_token="<unk>",
            show_progress=False,
        ),
        FAST | {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    ),
    "whole words": trained(
        whole_words(),
        trainers.WordLevelTrainer(
            vocab_size=3000, special_tokens=["[UNK]", "[PAD]"], show_progress=False
        ),
        FAST | {"unk_token": "[UNK]", "pad_token": "[PAD]"},
    ),
    "single letters": single_letters,
    "ends of words, as tokenizer.json": ends_of_words(FAST | {"unk_token": "<unk>"}),
    "ends of words, GPT-1's class": ends_of_words(
        {"tokenizer_class": "OpenAIGPTTokenizer", "unk_token": "<unk>"}
    ),
    "ends of words, CLIP's class": ends_of_words(
        {"tokenizer_class": "CLIPTokenizer"}, ("<|endoftext|>", "<|startoftext|>"), bytes_=True
    ),
}
SENTENCE_PIECE: dict[str, Write] = {
    "Llama's tokenizer.model": sentence_piece(
        "tokenizer.model", "LlamaTokenizer", bpe=True, units=True
    ),
    "T5's spiece.model": sentence_piece("spiece.model", "T5Tokenizer", bpe=False, units=False),
}

FRAGMENTS = (
    *"abcXYZ019.,;:!?'\"-_/\\()[]{}<>|@#$%^&*+=~`",
    *(" ", "  ", "    ", "\t", "\r", "\u00a0", "\u2003", "\u200b", "\u3000", "\ufeff", "\u00ad"),
    *("\x00", "\x01", "\x07", "\x1b[0m", "\x7f", "\x85", "\u2028", "\u202e"),
    *("é", "e\u0301", "Ω", "ß", "İ", "ﬁ", "Ｆ", "½", "№", "привет", "שלום", "مرحبا", "नमस्ते"),
    *("你好", "世界", "東京", "ひらがな", "한국어", "𠮷", "\U0001f642", "👩‍👩‍👧", "🏳️‍🌈", "\ufffd"),
    *("n't", "'ll", "I'm", "supercalifragilistic", "12345", "3.14", "http://a.b/c?d=e", "x**2"),
    *("<|endoftext|>", "<s>", "</s>", "<unk>", "<pad>", "[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    *("<left>", "<right>", "word", "words", "hé x", "<bos>", "<cls>", "<0x41>", "▁", "##ing"),
    *SPEAKERS,
)


@cache
@cache
def mixed_lines(count: int = 2_500) -> list[str]:
    """Lines of everything, among them the empty one, prose, and what begins or ends with spaces."""
    generator = random.Random(0)
    words = PROSE.split()
    lines = ["", " ", "  ", "\t", *(line for line in PROSE.split("\n") if line)][: count // 4]
    while len(lines) < count:
        parts = [
            generator.choice(FRAGMENTS) if generator.random() < 0.5 else generator.choice(words)
            for _ in range(generator.randrange(1, 12))
        ]
        lines.append(generator.choice(("", " ")).join(parts))
    return lines

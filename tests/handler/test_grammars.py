"""Texts that follow a grammar: valid to the letter, or ended by their length."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from handler.engine.errors import GrammarError
from handler.engine.grammar import (
    CHOICE,
    JSON_SCHEMA,
    LARK,
    REGEX,
    Grammar,
    Grammars,
    GrammarSource,
)
from handler.engine.options import LogitBias
from handler.engine.sampler import allow
from handler.engine.vocabulary import Vocabulary
from handler.errors import BadRequest
from handler.requests.chat_schema import ChatRequest
from handler.requests.grammar_schema import MAX_GRAMMAR_BYTES
from handler.requests.schema import CompletionRequest
from handler.requests.validation import validate
from tests.archive.layouts import llama
from tests.handler.conftest import MakeRig
from tests.handler.engines import Rig, Text

SECONDS = 60.0
fuzz = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def int8(make_rig: MakeRig) -> Rig:
    return make_rig("int8")


def grammars_of(rig: Rig) -> Grammars:
    return Grammars(rig.vocabulary, rig.metadata.end_tokens, rig.shape.vocab_size)


def compiled(grammars: Grammars, kind: str, text: str) -> Grammar:
    return grammars.compile(GrammarSource(kind, text), SECONDS)


def written(rig: Rig, grammar: Grammar, seed: int, **options: object) -> Text:
    asked = {"max_tokens": 60, "temperature": 1.0, **options}
    [text] = rig.write(rig.sequence("Once upon", seed=seed, grammar=grammar, **asked))
    return text


NAMES = st.sampled_from(["a", "name", "größe", "x y", '"'])
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"type": "string", "maxLength": 4}]
        + [{"enum": ["red", 7, None, "é\n"]}, {"const": {"k": [1]}}]
        + [{"type": "string", "pattern": "^[a-c]{2,5}$"}]
    ),
    st.tuples(st.integers(-50, 50), st.integers(0, 90)).map(
        lambda pair: {"type": "integer", "minimum": pair[0], "maximum": pair[0] + pair[1]}
    ),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda item, most: {"type": "array", "items": item, "maxItems": most},
            inner,
            st.integers(0, 3),
        ),
        st.dictionaries(NAMES, inner, max_size=3).map(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            }
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
    ),
    max_leaves=5,
)
ATOMS = st.sampled_from(["a", "bc", "[0-9]", "[a-z]", "é", r"\.", "[^x]", " ", "(the|king)"])
REGEXES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.builds("({}){}".format, inner, st.sampled_from(["?", "*", "+", "{2,4}"])),
    ),
    max_leaves=6,
)


def test_whatever_the_schema_a_text_is_valid_or_cut(int8: Rig) -> None:
    grammars = grammars_of(int8)
    ended = 0

    @fuzz
    @given(SCHEMAS, st.integers(0, 1000), st.sampled_from([1.0, 2.0]), st.sampled_from([0, 5]))
    def check(schema: dict[str, Any], seed: int, temperature: float, top_k: int) -> None:
        nonlocal ended
        grammar = compiled(grammars, JSON_SCHEMA, json.dumps(schema))
        text = written(int8, grammar, seed, temperature=temperature, top_k=top_k)
        assert text.error is None
        if text.finish_reason == "stop":
            jsonschema.validate(json.loads(text.text), schema)
            ended += 1

    check()
    assert ended


def test_whatever_the_regex_a_text_matches_or_is_cut(int8: Rig) -> None:
    grammars = grammars_of(int8)

    @fuzz
    @given(REGEXES, st.integers(0, 1000), st.sampled_from([0.0, 1.0, 2.0]))
    def check(regex: str, seed: int, temperature: float) -> None:
        grammar = compiled(grammars, REGEX, regex)
        text = written(int8, grammar, seed, temperature=temperature, skip_special_tokens=False)
        assert text.error is None
        if text.finish_reason == "stop":
            assert re.fullmatch(regex, text.text, re.DOTALL)

    check()


def test_each_engine_follows_a_grammar(rig: Rig) -> None:
    choices = ["yes", "no", 'a "b"\\\n\u2028 é😀', "perhaps not"]
    grammar = compiled(grammars_of(rig), CHOICE, json.dumps(choices))
    for seed in range(4):
        assert written(rig, grammar, seed, logit_bias=None).text in choices


def test_a_text_goes_on_where_it_was_cut(int8: Rig) -> None:
    grammar = compiled(grammars_of(int8), LARK, 'start: ("ab" | "c" | /[d-f]+/)~3..9 "."')
    options: dict[str, Any] = {"max_tokens": 40, "temperature": 1.5, "seed": 3, "grammar": grammar}
    whole = int8.sequence("Once", **options)
    [text] = int8.write(whole)
    assert text.finish_reason == "stop"
    for cut in range(1, len(whole.generated)):
        rest = int8.sequence("Once", **options)
        rest.resume(whole.generated[:cut], None)
        [again] = int8.write(rest)
        assert rest.generated == whole.generated
        assert text.text.endswith(again.text)
        assert again.finish_reason == "stop"


def test_nothing_left_is_an_error_and_no_text(int8: Rig) -> None:
    grammar = compiled(grammars_of(int8), CHOICE, '["yes", "no"]')
    neighbour = int8.sequence("The king", seed=1)
    forbidden = frozenset(range(int8.shape.vocab_size)) - {0, 5}
    alone = int8.sequence("Once", grammar=grammar, never=forbidden)
    early = int8.sequence("Once", grammar=grammar, min_tokens=9)
    left, failed, short = int8.write(neighbour, alone, early)
    assert left.finish_reason == "length" and left.error is None
    assert failed.error is not None and "grammar" in failed.error and not failed.text
    assert short.error is not None


def test_bias_chooses_among_what_is_allowed(int8: Rig) -> None:
    grammar = compiled(grammars_of(int8), REGEX, "[ab]{5}")
    [token] = int8.vocabulary.encode("b")
    text = written(int8, grammar, 1, logit_bias=LogitBias.of({token: 100.0}))
    assert text.text == "bbbbb"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (REGEX, "(("),
        (REGEX, r"[^\s\S]"),
        (LARK, "start: missing"),
        (JSON_SCHEMA, '{"type": "array", "uniqueItems": true}'),
        (JSON_SCHEMA, '{"type": "nonsense"}'),
        (REGEX, "(x{1,2000}y?){1,2000}|" * 50 + "z"),
    ],
)
def test_what_is_no_grammar_or_too_much_is_refused_or_bounded(
    int8: Rig, kind: str, text: str
) -> None:
    grammars = grammars_of(int8)
    try:
        grammar = compiled(grammars, kind, text)
    except GrammarError as error:
        assert str(error) and "\n" not in str(error)
    else:
        ended = written(int8, grammar, 0)
        assert ended.error or ended.finish_reason
    assert written(int8, compiled(grammars, REGEX, "ok"), 0).text == "ok"


def test_an_end_comes_only_where_the_text_is_whole(int8: Rig) -> None:
    name = int8.vocabulary.symbol(next(iter(int8.metadata.end_tokens)))
    grammar = compiled(grammars_of(int8), LARK, f'start: "a" {name} "c"')
    text = written(int8, grammar, 0)
    assert text.error is not None and text.finish_reason is None


def test_a_tokenizer_without_all_bytes_follows_none(
    int8: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(int8.vocabulary), "is_byte_exact", False)
    with pytest.raises(GrammarError, match="tokenizer"):
        compiled(grammars_of(int8), REGEX, "a")


def byte_fallback(folder: Path) -> Vocabulary:
    """A vocabulary of SentencePiece's kind: pieces with a mark for blanks, and a token a byte."""
    llama(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return Vocabulary(tokenizer, tokenizer.get_vocab_size(), frozenset({1, 2}))


def walk(grammar: Grammar, vocabulary: Vocabulary, seed: int, *, is_first: bool) -> str | None:
    """A text of tokens drawn evenly from those that may come; None if it was cut."""
    numbers = np.random.default_rng(seed)
    matcher = grammar.matcher(is_first=is_first)
    prompt = [] if is_first else vocabulary.encode("Once upon", add_special_tokens=False)
    writer = vocabulary.detokenizer(after=prompt)
    written = ""
    for _ in range(200):
        if matcher.is_complete:
            return written + writer.finish()
        matcher.advance()
        bits = np.unpackbits(matcher.allowed.view(np.uint8), bitorder="little")
        tokens = np.flatnonzero(bits[: vocabulary.size])
        if not len(tokens):  # no text of such a tokenizer begins with a blank
            return None
        token = int(numbers.choice(tokens))
        if token == END:
            return written + writer.finish()
        matcher.take(token)
        written += writer.push(token)
    return None


END = 2


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "behind"])
def test_tokenizers_with_byte_fallback_follow_grammars(tmp_path: Path, is_first: bool) -> None:
    vocabulary = byte_fallback(tmp_path)
    assert vocabulary.is_byte_exact
    grammars = Grammars(vocabulary, frozenset({END}), vocabulary.size)
    assert not grammars.fault
    ended = 0

    @fuzz
    @given(REGEXES, st.integers(0, 1000))
    def follows_regexes(regex: str, seed: int) -> None:
        nonlocal ended
        text = walk(compiled(grammars, REGEX, regex), vocabulary, seed, is_first=is_first)
        if text is not None:
            assert re.fullmatch(regex, text, re.DOTALL), (regex, text)
            ended += 1

    @fuzz
    @given(SCHEMAS, st.integers(0, 1000))
    def follows_schemas(schema: dict[str, Any], seed: int) -> None:
        nonlocal ended
        grammar = compiled(grammars, JSON_SCHEMA, json.dumps(schema))
        text = walk(grammar, vocabulary, seed, is_first=is_first)
        if text is not None:
            jsonschema.validate(json.loads(text), schema)
            ended += 1

    follows_regexes()
    follows_schemas()
    assert ended > 10


def test_texts_beside_grammars_have_the_same_bits(rig: Rig) -> None:
    """Their tokens, and log probabilities to the last bit (of torch, which depends on neighbours,
    the tokens), whether or not others follow grammars in the same steps."""
    prompts = ["The old king", "A ship", "It was"]
    options = [
        {"temperature": 0.0, "logprobs": 5},
        {"temperature": 1.0, "top_k": 20, "top_p": 0.9, "logprobs": 0},
        {"temperature": 0.8, "min_p": 0.05, "repetition_penalty": 1.2, "logprobs": 2},
    ]

    def plain() -> list[Any]:
        return [
            rig.sequence(prompt, seed=number, max_tokens=24, ignore_eos=True, **asked)
            for number, (prompt, asked) in enumerate(zip(prompts, options, strict=True))
        ]

    alone = rig.write(*plain())
    grammars = grammars_of(rig)
    sources = [(JSON_SCHEMA, json.dumps({"type": "array"})), (REGEX, "[a-z ]+"), (CHOICE, '["a"]')]
    guided = [
        rig.sequence(
            "Once upon",
            request_id="guided",
            seed=seed,
            max_tokens=24,
            temperature=1.0,
            grammar=compiled(grammars, *sources[seed % 3]),
        )
        for seed in range(9)
    ]
    beside = rig.write(*guided[:4], *plain(), *guided[4:])[4:7]
    for one, other in zip(alone, beside, strict=True):
        assert (one.text, one.tokens) == (other.text, other.tokens)
        if rig.settings.kind == "native":
            assert one.logprobs == other.logprobs and one.logprobs


def test_a_service_without_the_package_says_so(int8: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.engine.grammar.MODULE", "no_such_package")
    with pytest.raises(GrammarError, match="llguidance"):
        compiled(grammars_of(int8), REGEX, "a")


SCHEMA = {"type": "object", "properties": {"a": {"type": "null"}}}


@pytest.mark.parametrize(
    "fields",
    [
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA},
            }
        },
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
    ],
)
def test_names_for_a_schema_mean_the_same(fields: dict[str, Any]) -> None:
    for request in (
        validate(CompletionRequest, fields),
        validate(ChatRequest, {"messages": [{"role": "user", "content": "x"}], **fields}),
    ):
        asked = request.asked_grammar()
        assert asked is not None
        assert json.loads(asked.text) == SCHEMA


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"guided_regex": "a", "stop": ["b"]}, "stop"),
        ({"guided_regex": "a", "bad_words": ["b"]}, "bad_words"),
        ({"guided_regex": "a", "stop_token_ids": [4]}, "stop_token_ids"),
        ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos"),
        ({"guided_regex": "a", "guided_choice": ["b"]}, "guided_choice"),
        ({"guided_regex": "a" * (MAX_GRAMMAR_BYTES + 1)}, "guided_regex"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": [1]}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        validate(CompletionRequest, fields)
    assert refused.value.param == param


def test_a_mask_lets_its_tokens_through_and_no_others() -> None:
    logits = np.arange(70, dtype=np.float32)
    mask = np.array([0b101, 0, 1 << 5], np.uint32)
    assert np.flatnonzero(np.isfinite(allow(logits, mask))).tolist() == [0, 2, 69]

"""Completions that a grammar must accept: which tokens may come next, step by step.

A grammar is compiled once and kept; every sequence has a matcher of its own. `llguidance` is
imported with the first grammar: who never asks for one does not have it in memory.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from handler.engine.errors import GrammarError
from handler.engine.grammar_tokens import GrammarTokens, Mask
from handler.older_pythons import SLOTS

if TYPE_CHECKING:  # pragma: no cover
    from handler.engine.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

JSON_SCHEMA, REGEX, CHOICE, LARK = "json_schema", "regex", "choice", "lark"
MODULE = "llguidance"
MISSING = (
    "this service cannot follow grammars, since its Python package `llguidance` is missing; "
    "install it (requirements.txt names it), or leave the grammar out"
)
UNMAPPED = (
    "this model cannot follow grammars, since its tokenizer lacks tokens for some bytes; leave "
    "the grammar out"
)
TOO_COMPLEX = "the grammar is too complex; make it simpler"
NOTHING = "the grammar allows no text, or none that continues from here"
LEFT_BEHIND = "the grammar became too complex in the middle of the text; make it simpler"
# Compiled grammars that are kept.
MOST_KEPT = 64
# `LLParserLimits`. A symbol takes some 100 bytes, a lexer's state 1 to 2 kB in each sequence; fuel
# and items bound what one step may take, to some milliseconds.
LIMITS = {
    "max_grammar_size": 100_000,
    "max_items_in_row": 2_000,
    "max_lexer_states": 10_000,
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 100_000,
    "step_max_items": 20_000,
    "verbose_errors": False,
}
# Blanks are bounded: a small model would write them without end.
JSON_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ",[ \\n]?",
    "key_separator": ": ?",
    "lenient": False,
    "coerce_one_of": False,
}


@dataclass(frozen=True, **SLOTS)
class GrammarSource:
    """A grammar as a request says it: JSON_SCHEMA and CHOICE are JSON, the others plain text."""

    kind: str
    text: str

    @property
    def digest(self) -> bytes:
        """A digest that no other grammar has."""
        return hashlib.sha256(f"{self.kind}\n{self.text}".encode()).digest()


class Grammar:
    """A compiled grammar."""

    def __init__(self, prototype: Any, tokens: GrammarTokens) -> None:
        self._prototype = prototype
        self._tokens = tokens

    def matcher(self, *, is_first: bool) -> Matcher:
        """Follow one sequence; `is_first`: nothing stands before it."""
        return Matcher(self._prototype.deep_copy(), self._tokens, is_first=is_first)


class Matcher:
    """Follows one sequence."""

    def __init__(self, matcher: Any, tokens: GrammarTokens, *, is_first: bool) -> None:
        self._matcher = matcher
        self._tokens = tokens
        self._words = tokens.no_words.copy()
        self._at_start = is_first
        # What `Draw.allowed` is: as many words as the model's vocabulary needs.
        self.allowed: Mask = self._words[: tokens.model_words]

    @property
    def is_complete(self) -> bool:
        """Whether the text is whole, and nothing can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    def advance(self) -> None:
        """Write into `allowed` what may come next.

        Raises:
            GrammarError: It cannot be computed.
        """
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        if self._matcher.is_error():
            self._give_up()
        if self._at_start:
            self._words &= ~self._tokens.openings
        # An end may come exactly where the text is whole, whatever the grammar says of it.
        self._words &= ~self._tokens.ends
        if self._matcher.is_accepting():
            self._words |= self._tokens.ends

    def take(self, token: int) -> None:
        """Go on behind a token.

        Raises:
            GrammarError: It was not allowed.
        """
        self._at_start = False
        if not self._matcher.consume_token(token):
            self._give_up()

    def _give_up(self) -> NoReturn:
        """Raise what a client may see of llguidance's error; the log has all of it."""
        message = self._matcher.get_error()
        logger.warning("a grammar was abandoned: %s", _in_one_line(message))
        raise GrammarError(NOTHING if message.startswith("NoExtension") else LEFT_BEHIND)


class Grammars:
    """Compiles grammars for one vocabulary; may be asked from any thread."""

    def __init__(self, vocabulary: Vocabulary, end_tokens: frozenset[int], size: int) -> None:
        """Begin.

        Args:
            vocabulary: The tokenizer's.
            end_tokens: Tokens that end one.
            size: Of the model's vocabulary.
        """
        self._vocabulary = vocabulary
        self._end_tokens = end_tokens
        self._size = size
        self._kept: OrderedDict[bytes, Grammar] = OrderedDict()
        self._tokenizer: tuple[Any, GrammarTokens] | None = None
        self._lock = threading.Lock()
        # A thread that did not end in time: it cannot be stopped.
        self._straggler: threading.Thread | None = None

    @property
    def fault(self) -> str:
        """Why there are none; empty where there are."""
        if importlib.util.find_spec(MODULE) is None:
            return MISSING
        return "" if self._vocabulary.is_byte_exact else UNMAPPED

    def compile(self, source: GrammarSource, seconds: float) -> Grammar:
        """Compile a grammar in so many seconds, or take the one that is kept.

        Raises:
            GrammarError: It is none, or too complex.
        """
        digest = source.digest
        with self._lock:
            kept = self._kept.get(digest)
            if kept is not None:
                self._kept.move_to_end(digest)
                return kept
            if fault := self.fault:
                raise GrammarError(fault)
            tokenizer = self._read_tokenizer()
            grammar = self._in_time(seconds, source, *tokenizer)
            self._kept[digest] = grammar
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return grammar

    def _read_tokenizer(self) -> tuple[Any, GrammarTokens]:
        if self._tokenizer is None:
            llguidance = importlib.import_module(MODULE)
            tokens = GrammarTokens(self._vocabulary, self._end_tokens, self._size)
            read = llguidance.LLTokenizer(tokens, len(tokens.tokens), tokens.eos_token_id)
            self._tokenizer = read, tokens
        return self._tokenizer

    def _in_time(
        self, seconds: float, source: GrammarSource, tokenizer: Any, tokens: GrammarTokens
    ) -> Grammar:
        """Compile in a thread that is left behind if it does not end."""
        if self._straggler is not None and self._straggler.is_alive():
            raise GrammarError(
                "the service is still stopping another grammar that is too complex; try again"
            )
        found: list[Grammar | GrammarError] = []

        def work() -> None:
            try:
                found.append(_compile(source, tokenizer, tokens))
            except GrammarError as error:
                found.append(error)
            except Exception:
                logger.exception("a grammar could not be compiled")
                found.append(GrammarError("the grammar cannot be read"))

        thread = threading.Thread(target=work, name="grammar", daemon=True)
        thread.start()
        thread.join(seconds)
        if not found:
            self._straggler = thread
            logger.warning("a grammar took more than %.1f s", seconds)
            raise GrammarError(TOO_COMPLEX)
        result = found[0]
        if isinstance(result, GrammarError):
            raise result
        return result


def _compile(source: GrammarSource, tokenizer: Any, tokens: GrammarTokens) -> Grammar:
    """Compile a grammar, and try its first step."""
    llguidance = importlib.import_module(MODULE)
    limits = llguidance.LLParserLimits(**LIMITS)
    matcher = llguidance.LLMatcher(tokenizer, _written(source), log_level=0, limits=limits)
    if matcher.is_error():
        raise GrammarError(_in_one_line(matcher.get_error()))
    grammar = Grammar(matcher, tokens)
    first = grammar.matcher(is_first=False)
    try:
        first.advance()
    except GrammarError as error:
        raise GrammarError(NOTHING if str(error) == NOTHING else TOO_COMPLEX) from None
    if not first.allowed.any():
        raise GrammarError(NOTHING)
    return grammar


def _written(source: GrammarSource) -> str:
    """A grammar as llguidance reads it."""
    matcher = importlib.import_module(MODULE).LLMatcher
    if source.kind == JSON_SCHEMA:
        try:
            return str(matcher.grammar_from_json_schema(source.text, overrides=JSON_STYLE))
        except ValueError as error:
            raise GrammarError(_in_one_line(str(error))) from None
    if source.kind == REGEX:
        return str(matcher.grammar_from_regex(source.text))
    text = source.text
    if source.kind == CHOICE:
        choices = json.loads(text)
        text = "start: " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    return str(matcher.grammar_from_lark(text))


def _in_one_line(message: str) -> str:
    """What llguidance says of a fault, in one line that is not too long."""
    return " ".join(message.split())[:300]

"""The grammar that a request asks for, compiled."""

from __future__ import annotations

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
from handler.errors import INVALID_GRAMMAR, BadRequest
from handler.requests import grammar_schema
from handler.requests.grammar_schema import GrammarFields
from handler.workshop import is_inside

# How long a grammar may take to be compiled: beside everybody's steps, and between two of them.
MOST_SECONDS = 5.0
MOST_SECONDS_OUTSIDE = 1.0
KINDS = {
    grammar_schema.JSON: JSON_SCHEMA,
    grammar_schema.REGEX: REGEX,
    grammar_schema.CHOICE: CHOICE,
    grammar_schema.LARK: LARK,
}


def compiled(request: GrammarFields, grammars: Grammars) -> Grammar | None:
    """Compile what a request says its text must look like.

    Raises:
        BadRequest: It is no grammar, or too complex, or this service follows none.
    """
    asked = request.asked_grammar()
    if asked is None:
        return None
    try:
        seconds = MOST_SECONDS if is_inside() else MOST_SECONDS_OUTSIDE
        return grammars.compile(GrammarSource(KINDS[asked.kind], asked.text), seconds)
    except GrammarError as error:
        code = "grammars_not_supported" if grammars.fault else INVALID_GRAMMAR
        raise BadRequest(
            f"`{asked.field}`: {error}", param=asked.field.split(".")[0], code=code
        ) from None

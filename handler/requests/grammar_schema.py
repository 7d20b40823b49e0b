"""Fields that say what a text must look like: OpenAI's `response_format`, and vLLM's names."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from handler.content import strict_json
from handler.requests.base import _Request
from handler.requests.fields import Text

# Of one grammar, as it is handed on.
MAX_GRAMMAR_BYTES = 65_536
MAX_CHOICES = 1000
ANY_OBJECT: dict[str, Any] = {"type": "object"}
# What would end a text where its grammar does not.
ENDINGS = ("stop", "stop_token_ids", "bad_words", "ignore_eos")
JSON, REGEX, CHOICE, LARK = "json", "regex", "choice", "grammar"


class AskedGrammar(NamedTuple):
    """The field that names a grammar, its kind, and its text (JSON and CHOICE: as JSON)."""

    field: str
    kind: str
    text: str


def _read_schema(value: Any) -> Any:
    """Take the text of a schema for the schema."""
    if isinstance(value, str):
        try:
            value = strict_json.load(value)
        except strict_json.JsonError as error:
            raise PydanticCustomError(
                "json_schema", "is not valid JSON: {reason}", {"reason": error.message}
            ) from None
    if not isinstance(value, dict):
        raise PydanticCustomError("json_schema", "must be a JSON schema: an object")
    return value


def _check_size(value: Any) -> Any:
    size = _size(value)
    if size > MAX_GRAMMAR_BYTES:
        raise PydanticCustomError(
            "grammar_too_long",
            "has {size} bytes; at most {most} are allowed",
            {"size": size, "most": MAX_GRAMMAR_BYTES},
        )
    return value


def _size(value: Any) -> int:
    """Bytes of a text, or of a value as JSON: counted chunk by chunk, so as to keep no lock."""
    if isinstance(value, str):
        return len(value.encode())
    return sum(map(len, json.JSONEncoder().iterencode(value)))


def _refuse_tag(value: Any) -> Any:
    if value is not None:
        raise PydanticCustomError(
            "structural_tag", "is not supported; use `json`, `regex`, `choice` or `grammar`"
        )
    return value


Schema = Annotated[dict[str, Any], BeforeValidator(_read_schema), AfterValidator(_check_size)]
GrammarText = Annotated[Text, Field(min_length=1), AfterValidator(_check_size)]
Choices = Annotated[
    list[Text], Field(min_length=1, max_length=MAX_CHOICES), AfterValidator(_check_size)
]


class JsonSchemaFormat(_Request):
    """A JSON schema and its name."""

    name: Text | None = Field(None, description="Informative.")
    description: Text | None = Field(None, description="Informative.")
    given: Schema | None = Field(
        None, alias="schema", description="The JSON schema; without it any object is allowed."
    )
    strict: bool | None = Field(
        None, description="Accepted without effect: the text always follows the schema."
    )


class ResponseFormat(_Request):
    """What the text must look like, as OpenAI says it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise PydanticCustomError("json_schema", "of type `json_schema` needs `json_schema`")
        return self

    def grammar(self) -> dict[str, Any] | None:
        """The JSON schema that it means; None where any text will do."""
        if self.type == "text":
            return None
        schema = self.json_schema.given if self.json_schema is not None else None
        return ANY_OBJECT if schema is None or self.type == "json_object" else schema


class StructuredOutputs(_Request):
    """What a text must look like, in vLLM's shape: one of these."""

    json_: Schema | None = Field(None, alias="json", description="A JSON schema.")
    regex: GrammarText | None = Field(None, description="A regular expression (Rust's syntax).")
    choice: Choices | None = Field(None, description="One of these strings.")
    grammar: GrammarText | None = Field(None, description="A grammar in Lark's syntax.")
    json_object: bool | None = Field(None, description="True: any JSON object.")
    structural_tag: Annotated[None, BeforeValidator(_refuse_tag)] = Field(
        None, description="Not supported."
    )


class GrammarFields(_Request):
    """At most one of these says what a text must look like; it is followed to the letter."""

    response_format: ResponseFormat | None = Field(
        None, description="`json_object` or `json_schema`: the text is JSON of that kind."
    )
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = Field(None, description="A JSON schema that the text follows.")
    guided_regex: GrammarText | None = Field(
        None, description="A regular expression that the whole text matches (Rust's syntax)."
    )
    guided_choice: Choices | None = Field(None, description="The text is one of these.")
    guided_grammar: GrammarText | None = Field(
        None,
        description=("A grammar that the text follows, in Lark's syntax as llguidance reads it."),
    )

    @model_validator(mode="after")
    def _check_grammar(self) -> GrammarFields:
        asked = self._asked()
        if len(asked) > 1:
            raise PydanticCustomError(
                "one_grammar",
                "give one of `{first}` and `{second}`, not both",
                {"first": asked[0][0], "second": asked[1][0], "name": asked[1][0]},
            )
        for name in ENDINGS if asked else ():
            if getattr(self, name, None):
                raise PydanticCustomError(
                    "with_grammar",
                    "`{name}` cannot be combined with `{field}`: the text could end before it "
                    "is valid. Leave `{name}` out",
                    {"name": name, "field": asked[0][0]},
                )
        return self

    def asked_grammar(self) -> AskedGrammar | None:
        """What the text must look like, if that was said."""
        asked = self._asked()
        if not asked:
            return None
        field, kind, value = asked[0]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return AskedGrammar(field, kind, text)

    def _asked(self) -> list[tuple[str, str, Any]]:
        form, outputs = self.response_format, self.structured_outputs
        found: list[tuple[str, str, Any]] = [
            ("response_format", JSON, form.grammar() if form is not None else None),
            ("guided_json", JSON, self.guided_json),
            ("guided_regex", REGEX, self.guided_regex),
            ("guided_choice", CHOICE, self.guided_choice),
            ("guided_grammar", LARK, self.guided_grammar),
        ]
        if outputs is not None:
            any_object = outputs.json_object
            found += [
                ("structured_outputs.json", JSON, outputs.json_),
                ("structured_outputs.regex", REGEX, outputs.regex),
                ("structured_outputs.choice", CHOICE, outputs.choice),
                ("structured_outputs.grammar", LARK, outputs.grammar),
                ("structured_outputs.json_object", JSON, ANY_OBJECT if any_object else None),
            ]
        return [each for each in found if each[2] is not None]

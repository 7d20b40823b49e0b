"""OpenAI's package since its version 1."""

import openai
from common import ANSWER, MANY, MODEL, PROMPT, TALK, TEXT, TOKENS, URL, has_left, main, same

CLIENT = openai.OpenAI(base_url=URL + "/v1", api_key="none")
ASKED = {"model": MODEL, "prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS}
CHAT = {"model": MODEL, "messages": TALK, "temperature": 0, "max_tokens": TOKENS}


def call() -> None:
    """A text, an answer, and what is there."""
    same(CLIENT.completions.create(**ASKED).choices[0].text, TEXT)
    same(CLIENT.chat.completions.create(**CHAT).choices[0].message.content, ANSWER)
    assert MODEL in [model.id for model in CLIENT.models.list()]


def stream() -> None:
    """The same in parts."""
    parts = CLIENT.completions.create(**ASKED, stream=True)
    same("".join(part.choices[0].text for part in parts), TEXT)
    parts = CLIENT.chat.completions.create(**CHAT, stream=True)
    same("".join(part.choices[0].delta.content or "" for part in parts), ANSWER)


def cancel() -> None:
    """Leave a stream."""
    parts = CLIENT.completions.create(**{**ASKED, "max_tokens": MANY}, stream=True)
    next(iter(parts))
    parts.response.close()
    has_left()


def _told(error: openai.APIStatusError) -> dict:
    """What the service says of an error; 1.0.0 has no `body`."""
    told: dict = error.response.json()["error"]
    return told


def error() -> None:
    """A value that is not allowed, and a model that is not there."""
    try:
        CLIENT.completions.create(**{**ASKED, "temperature": 9})
    except openai.BadRequestError as error:
        same((_told(error)["param"], _told(error)["code"]), ("temperature", "less_than_equal"))
    else:
        raise AssertionError("no error")
    try:
        CLIENT.completions.create(**{**ASKED, "model": "another"})
    except openai.NotFoundError as error:
        same(_told(error)["code"], "model_not_found")
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It comes back by itself."""
    same(CLIENT.completions.create(**ASKED).choices[0].text, TEXT)


main(call, stream, cancel, error, retry)

"""OpenAI's package before its version 1; it tries nothing again by itself."""

import time

import openai
from common import ANSWER, MANY, MODEL, PROMPT, TALK, TEXT, TOKENS, URL, has_left, main, same

openai.api_base, openai.api_key = URL + "/v1", "none"
ASKED = {"model": MODEL, "prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS}
CHAT = {"model": MODEL, "messages": TALK, "temperature": 0, "max_tokens": TOKENS}


def call() -> None:
    """A text, and an answer."""
    same(openai.Completion.create(**ASKED).choices[0].text, TEXT)
    same(openai.ChatCompletion.create(**CHAT).choices[0].message.content, ANSWER)


def stream() -> None:
    """The same in parts."""
    parts = openai.Completion.create(**ASKED, stream=True)
    same("".join(part.choices[0].text for part in parts), TEXT)
    parts = openai.ChatCompletion.create(**CHAT, stream=True)
    same("".join(part.choices[0].delta.get("content", "") for part in parts), ANSWER)


def cancel() -> None:
    """Leave a stream; its connection is closed with the last name for it."""
    parts = openai.Completion.create(**{**ASKED, "max_tokens": MANY}, stream=True)
    next(parts)
    parts.close()
    openai.requestssession = None
    has_left()


def error() -> None:
    """A value that is not allowed."""
    try:
        openai.Completion.create(**{**ASKED, "temperature": 9})
    except openai.error.InvalidRequestError as error:
        same(error.param, "temperature")
        assert "less than or equal to 2" in str(error), error
    else:
        raise AssertionError("no error")


def retry() -> None:
    """Come back when the refusal says."""
    try:
        openai.Completion.create(**ASKED)
    except openai.error.RateLimitError as error:
        time.sleep(float(error.headers["retry-after"]))
    else:
        raise AssertionError("it was not refused")
    same(openai.Completion.create(**ASKED).choices[0].text, TEXT)


main(call, stream, cancel, error, retry)

"""LiteLLM, which speaks OpenAI's API to services that it does not know."""

import litellm
from common import ANSWER, MANY, MODEL, PROMPT, TALK, TEXT, TOKENS, URL, has_left, main, same

SERVICE = {"api_base": URL + "/v1", "api_key": "none", "temperature": 0}
WRITER = {**SERVICE, "model": f"text-completion-openai/{MODEL}", "prompt": PROMPT}
TALKER = {**SERVICE, "model": f"openai/{MODEL}", "messages": TALK}


def call() -> None:
    """A text, and an answer."""
    same(litellm.text_completion(**WRITER, max_tokens=TOKENS).choices[0].text, TEXT)
    same(litellm.completion(**TALKER, max_tokens=TOKENS).choices[0].message.content, ANSWER)


def stream() -> None:
    """The same in parts."""
    parts = litellm.text_completion(**WRITER, max_tokens=TOKENS, stream=True)
    same("".join(part.choices[0].text or "" for part in parts), TEXT)
    parts = litellm.completion(**TALKER, max_tokens=TOKENS, stream=True)
    same("".join(part.choices[0].delta.content or "" for part in parts), ANSWER)


def cancel() -> None:
    """Leave a stream: it has no word for that, so OpenAI's stream inside of it is closed."""
    parts = litellm.completion(**TALKER, max_tokens=MANY, stream=True)
    next(parts)
    parts.completion_stream.close()
    has_left()


def error() -> None:
    """A value that is not allowed."""
    try:
        litellm.completion(**{**TALKER, "temperature": 9})
    except litellm.BadRequestError as error:
        assert "`temperature` must be less than or equal to 2" in str(error), error
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It comes back by itself."""
    reply = litellm.completion(**TALKER, max_tokens=TOKENS, num_retries=3)
    same(reply.choices[0].message.content, ANSWER)


main(call, stream, cancel, error, retry)

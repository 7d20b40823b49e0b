"""Hugging Face's client, which speaks TGI's API to a URL and OpenAI's."""

import time

from common import ANSWER, MANY, MODEL, PROMPT, TALK, TEXT, TOKENS, URL, has_left, main, same
from huggingface_hub import InferenceClient
from huggingface_hub.errors import OverloadedError

CLIENT = InferenceClient(model=URL)
TALKER = InferenceClient(base_url=URL + "/v1", api_key="none")


def written() -> str:
    """What follows the prompt, alone."""
    return CLIENT.text_generation(PROMPT, max_new_tokens=TOKENS, return_full_text=False)


def call() -> None:
    """A text, which is greedy where nothing is said and holds its prompt, and an answer."""
    same(CLIENT.text_generation(PROMPT, max_new_tokens=TOKENS), PROMPT + TEXT)
    same(written(), TEXT)
    told = CLIENT.text_generation(
        PROMPT, max_new_tokens=TOKENS, details=True, return_full_text=False
    )
    same((told.generated_text, len(told.details.tokens)), (TEXT, TOKENS))
    reply = TALKER.chat_completion(TALK, model=MODEL, max_tokens=TOKENS, temperature=0)
    same(reply.choices[0].message.content, ANSWER)


def stream() -> None:
    """The same in parts."""
    same("".join(CLIENT.text_generation(PROMPT, max_new_tokens=TOKENS, stream=True)), TEXT)
    parts = TALKER.chat_completion(TALK, model=MODEL, max_tokens=TOKENS, temperature=0, stream=True)
    same("".join(part.choices[0].delta.content or "" for part in parts), ANSWER)


def cancel() -> None:
    """Leave a stream."""
    parts = CLIENT.text_generation(PROMPT, max_new_tokens=MANY, stream=True)
    next(parts)
    parts.close()
    has_left()


def error() -> None:
    """A value that is not allowed."""
    try:
        CLIENT.text_generation(PROMPT, temperature=9)
    except Exception as error:
        assert "`temperature` must be less than or equal to 2" in str(error), error
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It tries nothing again by itself: come back when the refusal says."""
    try:
        written()
    except OverloadedError as error:
        time.sleep(float(error.__cause__.response.headers["retry-after"]))
    else:
        raise AssertionError("it was not refused")
    same(written(), TEXT)


main(call, stream, cancel, error, retry)

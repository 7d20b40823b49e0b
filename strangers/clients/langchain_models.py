"""LangChain's models of completions and of chats."""

from common import ANSWER, MANY, MODEL, PROMPT, TEXT, TOKENS, URL, has_left, main, same
from langchain_openai import ChatOpenAI, OpenAI

SERVICE = {"base_url": URL + "/v1", "api_key": "none", "model": MODEL, "temperature": 0}
WRITER = OpenAI(**SERVICE, max_tokens=TOKENS)
TALKER = ChatOpenAI(**SERVICE, max_tokens=TOKENS)


def call() -> None:
    """A text, an answer, and several at once."""
    same(WRITER.invoke(PROMPT), TEXT)
    same(TALKER.invoke(PROMPT).content, ANSWER)
    same(WRITER.batch([PROMPT, PROMPT]), [TEXT, TEXT])


def stream() -> None:
    """The same in parts."""
    same("".join(WRITER.stream(PROMPT)), TEXT)
    same("".join(part.content for part in TALKER.stream(PROMPT)), ANSWER)


def cancel() -> None:
    """Leave the stream of a chat; its completions keep the connection when they are left."""
    parts = ChatOpenAI(**SERVICE, max_tokens=MANY).stream(PROMPT)
    next(parts)
    parts.close()
    has_left()


def error() -> None:
    """A value that is not allowed."""
    try:
        OpenAI(**{**SERVICE, "temperature": 9}).invoke(PROMPT)
    except Exception as error:
        assert "`temperature` must be less than or equal to 2" in str(error), error
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It comes back by itself."""
    same(WRITER.invoke(PROMPT), TEXT)


main(call, stream, cancel, error, retry)

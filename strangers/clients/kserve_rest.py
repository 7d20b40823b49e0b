"""KServe's REST client, in both of its protocols."""

import asyncio

from common import MANY, MODEL, PROMPT, TEXT, TOKENS, URL, has_left, main, same
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

GREEDY = {"temperature": 0, "max_tokens": TOKENS}
OLD = {"instances": [PROMPT], "parameters": GREEDY}


async def predict(body: dict, **config: object) -> object:
    """What V1 answers."""
    client = InferenceRESTClient(RESTConfig(protocol="v1", **config))
    return await client.infer(URL, body, model_name=MODEL)


async def infer() -> object:
    """What V2 answers."""
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(URL) and await client.is_model_ready(URL, MODEL)
    text = InferInput("text_input", [1], "BYTES", data=[PROMPT])
    request = InferRequest(model_name=MODEL, infer_inputs=[text], parameters=GREEDY)
    reply = await client.infer(URL, request, model_name=MODEL)
    return reply.outputs[0].data


def call() -> None:
    """A text, by V1 and by V2."""
    same(asyncio.run(predict(OLD)), {"predictions": [TEXT]})
    same(asyncio.run(infer()), [TEXT])


def cancel() -> None:
    """Leave a call."""

    async def leave() -> None:
        body = {**OLD, "parameters": {**GREEDY, "max_tokens": MANY}}
        asking = asyncio.create_task(predict(body))
        await asyncio.sleep(1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.to_thread(has_left)  # the loop closes the connection meanwhile

    asyncio.run(leave())


def error() -> None:
    """A value that is not allowed."""
    try:
        asyncio.run(predict({"instances": [PROMPT], "parameters": {"temperature": 9}}))
    except Exception as error:
        told = str(error) + getattr(getattr(error, "response", None), "text", "")
        assert "400" in told or "less than or equal to 2" in told, told
    else:
        raise AssertionError("no error")


def retry() -> None:
    """It tries connections again by itself, and no refusals: one more call."""
    try:
        asyncio.run(predict(OLD))
    except Exception as error:
        assert "429" in str(error), error
    else:
        raise AssertionError("it was not refused")
    for _ in range(20):
        try:
            same(asyncio.run(predict(OLD)), {"predictions": [TEXT]})
        except AssertionError:
            raise
        except Exception:
            asyncio.run(asyncio.sleep(1))
        else:
            return
    raise AssertionError("it was refused for 20 s")


main(call, cancel, error, retry)

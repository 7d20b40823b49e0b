"""Which clients there are. Needs nothing but the standard library."""

from __future__ import annotations

from strangers.stranger import CALL, CANCEL, ERROR, RETRY, RUN, Stranger

WITHOUT_STREAM = (CALL, CANCEL, ERROR, RETRY)

STRANGERS = (
    Stranger(
        "openai-0.28",
        "openai_0.py",
        "openai",
        ("openai==0.28.1",),
        about="tries nothing again by itself; the program does when the refusal says",
    ),
    Stranger("openai-1.0", "openai_1.py", "openai", ("openai==1.0.0", "httpx==0.27.2")),
    Stranger("openai", "openai_1.py", "openai", ("openai==3.57.0",)),
    Stranger("openai-node", "openai_node.mjs", "openai", ("openai@6.49.0",), npm=True),
    Stranger(
        "openai-chromium",
        "openai_chromium.py",
        "openai",
        ("openai@6.49.0",),
        npm=True,
        about="in a page of another origin",
    ),
    Stranger(
        "vercel-ai",
        "vercel_ai.mjs",
        "ai",
        ("ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92"),
        npm=True,
    ),
    Stranger("langchain", "langchain_models.py", "langchain-openai", ("langchain-openai==1.7.4",)),
    Stranger(
        "langchain-js",
        "langchain_js.mjs",
        "@langchain/openai",
        ("@langchain/openai@1.5.8", "@langchain/core@1.4.0"),
        npm=True,
    ),
    Stranger("litellm", "lite_llm.py", "litellm", ("litellm==1.110.2",), is_light=False),
    Stranger("llm", "llm_command.py", "llm", ("llm==0.36",), about="the command; Ctrl-C leaves"),
    Stranger(
        "java",
        "JavaClient.java",
        "java",
        about="`HttpClient` with nothing set: every request offers HTTP/2",
    ),
    Stranger("curl", "curl.sh", "curl", about="with `--http2`"),
    Stranger(
        "huggingface-hub",
        "hugging_face.py",
        "huggingface_hub",
        ("huggingface_hub==2.4.0",),
        about="`text_generation` of a URL, and OpenAI's API",
    ),
    Stranger(
        "tritonclient",
        "triton.py",
        "tritonclient",
        ("tritonclient[http]==2.73.0",),
        WITHOUT_STREAM,
        about="has no stream over HTTP",
    ),
    Stranger(
        "kserve",
        "kserve_rest.py",
        "kserve",
        ("kserve==0.21.0",),
        WITHOUT_STREAM,
        about="`InferenceRESTClient`, v1 and v2; has no stream",
        is_light=False,
    ),
    Stranger(
        "open-inference",
        "open_inference.py",
        "open-inference-openapi",
        ("open-inference-openapi==2.0.0.1",),
        (CALL, ERROR, RETRY),
        about="a generated client of KServe's v2; has no stream, and no word to leave a call",
    ),
    Stranger(
        "torchserve-client",
        "torchserve_rest.py",
        "torchserve-client",
        ("torchserve-client==0.0.2",),
        (CALL, ERROR),
        about="answers errors as they come, and has no stream",
    ),
    Stranger(
        "guidellm",
        "guide_llm.py",
        "guidellm",
        ("torch==2.13.0", "guidellm==0.8.1"),
        (RUN,),
        about="measures with its defaults; a local `--processor`",
        is_light=False,
    ),
    Stranger(
        "lm-eval",
        "lm_eval_tasks.py",
        "lm_eval",
        ("torch==2.13.0", "lm_eval[api]==0.4.13", "transformers==5.24.0"),
        (RUN,),
        about="choices, generation and rolling perplexity; scores as transformers computes them",
        is_light=False,
    ),
)

"""guidellm, which measures: with its defaults, and a local tokenizer to make prompts with."""

import json
import os
import subprocess
import sys
from pathlib import Path

from common import MODEL_DIRECTORY, URL, main


def run() -> None:
    """Measure; every request must have been answered, in time and with as many tokens as asked."""
    words = [sys.executable, "-m", "guidellm", "run", "--disable-console-interactive"]
    words += ["--backend", f"kind=openai_http,target={URL}", "--profile", "kind=synchronous"]
    words += ["--tokenizer", f"kind=huggingface_auto,model={MODEL_DIRECTORY}"]
    words += ["--data", "kind=synthetic_text,prompt_tokens=32,output_tokens=16"]
    words += ["--constraint", "kind=max_requests,count=5"]
    words += ["--output", "kind=json,path=measured.json"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    (measured,) = json.loads(Path("measured.json").read_text())["benchmarks"]
    requests = measured["requests"]
    assert len(requests["successful"]) == 5 and not requests["errored"], measured["metrics"]
    for request in requests["successful"]:
        assert request["output_tokens"] == 16, request
        assert request["time_to_first_token_ms"] > 0, request


main(run)

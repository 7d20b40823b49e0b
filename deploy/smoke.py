"""The smoke test of a deployed service: generates a few words and checks the model and keys."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time

import requests

from deploy.settings import ROOT, DeployError, Settings, key_of, named_keys

# A right that was just given takes a while to hold everywhere; until then Google's front answers
# 403, or 404 where it does not know the service yet.
PATIENCE_SECONDS = 120.0
WORDS = ("generate", "Once upon a time", "--max-tokens", "20")


def smoke_test(settings: Settings, url: str, token: str) -> None:
    """Wait until the service lets us in, then use it; `token` is for one that is not public.

    Raises:
        DeployError: It does not write, or does not take the management key.
    """
    _wait_open(url, token)
    command = [sys.executable, "-m", "gpt2_client", "--url", url, "--timeout", "60", *WORDS]
    done = subprocess.run(
        command, cwd=ROOT / "client", env=os.environ | {"GPT2_API_KEY": _key(settings, token)}
    )
    if done.returncode:
        raise DeployError("the service is deployed, but did not generate; see its log")
    _check_model(settings, url, token)
    if settings.management_key:
        # Google's front takes `Authorization` for itself: our own key comes beside it.
        own = {"x-api-key": key_of(settings.management_key).encode("utf-8")}
        headers: dict[str, str | bytes] = {**_identity(token), **own}
        reply = requests.get(f"{url}/models/gpt2", headers=headers, timeout=60)
        if reply.status_code != 200:
            raise DeployError(f"the management key is refused: status {reply.status_code}")
        print("the management key opens /models")


def _check_model(settings: Settings, url: str, token: str) -> None:
    """Say which model is served, and compare it with the one that was asked for."""
    headers = {"Authorization": f"Bearer {key}"} if (key := _key(settings, token)) else {}
    reply = requests.get(f"{url}/v1/models", headers=headers, timeout=60)
    try:
        cards = reply.json().get("data") or [{}]
        found = cards[0].get("content_sha256")
    except (ValueError, AttributeError, IndexError):
        found = None
    if settings.model_digest and found != settings.model_digest:
        raise DeployError(
            f"another model is served: content_sha256 {found}, not {settings.model_digest}"
        )
    if found:
        print(f"it serves the model {found}")


def show(settings: Settings, url: str) -> None:
    """Print what the smoke test does, as a person would type it."""
    token = "" if settings.public else '-H "Authorization: Bearer $TOKEN" '
    key = "$TOKEN" if token else "$KEY" if settings.api_keys else ""
    print(f"curl --fail --retry 30 --retry-all-errors {token}{url}/health/ready")
    before = f'GPT2_API_KEY="{key}" ' if key else ""
    print(f"{before}{shlex.join(['./scripts/gpt2', '--url', url, *WORDS])}")
    print(f"curl --fail {token}{url}/v1/models  # content_sha256 {settings.model_digest}".rstrip())
    if settings.management_key:
        file = shlex.quote(str(settings.management_key))
        print(f'curl --fail {token}-H "x-api-key: $(cat {file})" {url}/models/gpt2')


def _wait_open(url: str, token: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    wait = 1.0
    while True:
        try:
            reply = requests.get(f"{url}/health/ready", headers=_identity(token), timeout=60)
            found = f"status {reply.status_code}"
            if reply.status_code == 200:
                return
        except requests.RequestException as error:
            found = type(error).__name__
        if time.monotonic() + wait > deadline:
            raise DeployError(f"the service is deployed but cannot be reached: {found}")
        time.sleep(wait)
        wait = min(2 * wait, 15.0)


def _identity(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _key(settings: Settings, token: str) -> str:
    if token:
        return token
    given = os.environ.get("GPT2_API_KEY", "")
    if settings.api_keys and not given:
        given = next(iter(named_keys(settings.api_keys).values()))
    return given

"""Behind a proxy that serves all of it under a path of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
import requests
from playwright.sync_api import Browser

from bench.nginx import find_nginx, nginx_command
from tests.conftest import free_ports
from tests.gateway.conftest import wait_until
from tests.page.gateway_process import GatewayProcess
from tests.patience import PATIENCE

NGINX = """\
  server {{
    listen 127.0.0.1:{port};
    location /gpt2/ {{
      proxy_pass {gateway};
      proxy_http_version 1.1;
      proxy_buffering off;
    }}
  }}
"""


@pytest.fixture(scope="module")
def below(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address under which nginx serves the gateway."""
    program = find_nginx()
    if program is None:
        pytest.skip("no nginx on this machine (Debian: apt-get install nginx)")
    home, (port,) = tmp_path_factory.mktemp("nginx"), free_ports(1)
    server = NGINX.format(port=port, gateway=gateway.url)
    with subprocess.Popen(nginx_command(program, home, server)) as process:
        url = f"http://127.0.0.1:{port}/gpt2/"
        try:
            wait_until(lambda: _answers(url))
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=PATIENCE).status_code == 200
    except requests.ConnectionError:
        return False


def test_the_reference_is_drawn_and_leads_back(below: str, browser: Browser) -> None:
    page = browser.new_page()
    wrong: list[str] = []
    page.on(
        "response",
        lambda reply: wrong.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None,
    )
    page.goto(f"{below}docs")
    page.get_by_text("/v1/completions").first.wait_for()
    assert not wrong
    page.get_by_role("link", name="Write something").click()
    page.wait_for_url(below)
    page.get_by_role("heading", name="Go on").wait_for()
    assert not [line for line in wrong if "favicon" not in line]
    page.close()


def test_the_description_names_a_server_that_answers(below: str) -> None:
    described = f"{below}openapi.json"
    [server, *_] = requests.get(described, timeout=PATIENCE).json()["servers"]
    models = urljoin(described, f"{server['url']}/v1/models")
    assert models == f"{below}v1/models"
    assert requests.get(models, timeout=PATIENCE).status_code == 200

"""Google played here: a `gcloud` that keeps what was made, a front that asks who calls."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import yaml

from tests.conftest import ROOT

TOKEN = "identity-token-of-whoever-is-signed-in"

GCLOUD = """\
#!{python} -IS
import hashlib, json, pathlib, sys
words, home = sys.argv[1:], pathlib.Path({home!r})
with (home / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
verbs = [word for word in words if not word.startswith("--")]
line = " ".join(verbs)
file = home / "faults"
faults = json.loads(file.read_text()) if file.exists() else []
for fault in faults:
    if line.startswith(fault["line"]) and fault["times"]:
        fault["times"] -= 1
        file.write_text(json.dumps(faults))
        sys.exit("ERROR: (gcloud) " + fault["says"])
def option(name):
    return next(w for w in words if w.startswith("--" + name + "=")).partition("=")[2]
def absent():
    sys.exit("ERROR: (gcloud) NOT_FOUND: it was not found")
def made(name):
    return home / ("made-" + name.partition("@")[0].replace("/", "-"))
def kept(name, otherwise):
    file = home / name
    return json.loads(file.read_text()) if file.exists() else otherwise
def keep(name, value):
    (home / name).write_text(json.dumps(value))
if line.startswith("compute"):
    kind, verb, name = verbs[1:4]
    region = "".join(w for w in words if w.startswith(("--region=", "--network-endpoint-group-r")))
    things = kept("compute", [])
    thing = (kind + " " + name + " " + region.partition("=")[2]).strip()
    if verb == "create":
        assert thing not in things, thing
        keep("compute", [*things, thing])
    elif verb == "add-backend":
        keep("backends", [*kept("backends", []), thing.split()[-1]])
    elif thing not in things:
        absent()
    elif verb == "delete":
        keep("compute", [each for each in things if each != thing])
    elif "--format=value(backends.group)" in words:
        print(";".join(f"https://google/regions/{{each}}/gpt2" for each in kept("backends", [])))
    elif kind == "addresses":
        print("192.0.2.1")
elif "--format=json(status.traffic)" in words:
    absent() if not kept("revisions", []) else None
    print(json.dumps({{"status": {{"traffic": kept("traffic", [])}}}}))
elif line.startswith("run revisions list"):
    print("\\n".join(reversed(kept("revisions", []))))
elif line.startswith("run services update-traffic"):
    revisions = kept("revisions", [])
    traffic = [each for each in kept("traffic", []) if each.get("percent")]
    if "--to-latest" in words:
        traffic = [{{"revisionName": revisions[-1], "percent": 100}}]
    elif any(w.startswith("--to-revisions") for w in words):
        name, _, percent = option("to-revisions").partition("=")
        assert name in revisions
        traffic = [{{"revisionName": name, "percent": int(percent)}}]
    elif any(w.startswith("--to-tags") for w in words):
        tag, _, percent = option("to-tags").partition("=")
        traffic[0]["percent"] = 100 - int(percent)
        traffic.append({{"revisionName": revisions[-1], "percent": int(percent), "tag": tag}})
    keep("traffic", traffic)
elif line.startswith("projects describe"):
    print("123456789")
elif line == "auth print-identity-token":
    print({token!r})
elif line.startswith("ai endpoints describe"):
    absent() if not made("endpoint").exists() else None
    if any(word.startswith("--format") for word in words):
        print(";".join(sorted(file.name[9:] for file in home.glob("deployed-*"))))
elif line.startswith("ai endpoints create"):
    made("endpoint").touch()
elif line.startswith("ai endpoints deploy-model"):
    (home / ("deployed-" + option("deployed-model-id"))).touch()
elif line.startswith("ai endpoints undeploy-model"):
    (home / ("deployed-" + option("deployed-model-id"))).unlink()
elif line.startswith("ai endpoints predict"):
    assert json.loads(pathlib.Path(option("json-request")).read_text())["instances"]
    print(json.dumps(["there was a fox"]))
elif line.startswith("ai endpoints delete"):
    made("endpoint").unlink() if made("endpoint").exists() else absent()
elif line.startswith("ai models upload"):
    made("model-" + option("model-id")).touch()
elif line.startswith("ai models list"):
    print("\\n".join(file.name[11:] for file in home.glob("made-model-*")))
elif line.startswith("ai models"):
    file = made("model-" + verbs[3])
    absent() if not file.exists() else file.unlink() if verbs[2] == "delete" else None
elif line.startswith("run services describe"):
    print({url!r})
elif line.startswith("run services replace"):
    text = pathlib.Path(verbs[3]).read_text()
    (home / "service.yaml").write_text(text)
    (home / ("service-" + option("region") + ".yaml")).write_text(text)
    revisions = kept("revisions", [])
    keep("revisions", [*revisions, "gpt2-%05d" % (len(revisions) + 1)])
    if "candidate" not in text:
        keep("traffic", [{{"revisionName": "gpt2-%05d" % (len(revisions) + 1), "percent": 100}}])
elif line.startswith("run services add-iam"):
    (home / "who").write_text(option("member") + " " + option("role"))
elif line.startswith("run services remove-iam"):
    if not (home / "who").exists():
        sys.exit("ERROR: Policy binding with the specified member and role not found!")
    (home / "who").unlink()
elif line.startswith("secrets versions access"):
    file = home / ("value-" + option("secret"))
    absent() if not file.exists() else print(file.read_text(), end="")
elif line.startswith("secrets versions add"):
    (home / ("value-" + verbs[3])).write_text(pathlib.Path(option("data-file")).read_text())
elif " create " in line + " ":
    made(verbs[-1]).touch()
elif line.startswith("builds submit"):
    given = dict(pair.split("=", 1) for pair in option("substitutions").split(","))
    made(given["_IMAGE"]).touch()
elif "docker images describe" in line:
    absent() if not made(verbs[-1]).exists() else None
    print("sha256:" + hashlib.sha256(verbs[-1].encode()).hexdigest())
elif "delete" in verbs:
    made(verbs[-1]).unlink() if made(verbs[-1]).exists() else absent()
elif "describe" in verbs:
    absent() if not made(verbs[-1]).exists() else None
"""


class Cloud:
    """What the stand-in keeps, and ./scripts/deploy run against it."""

    def __init__(self, home: Path, url: str, root: Path = ROOT) -> None:
        self.home = home
        self.root = root
        program = home / "gcloud"
        text = GCLOUD.format(python=sys.executable, home=str(home), url=url, token=TOKEN)
        program.write_text(text)
        program.chmod(0o755)

    def deploy(
        self, *words: str, path: str | None = None, typed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it; `typed` is what somebody at a terminal answers, None: there is nobody."""
        environment = os.environ | {"PATH": path or f"{self.home}:{os.environ['PATH']}"}
        environment.pop("GPT2_API_KEY", None)
        terminal, theirs = os.openpty() if typed else (-1, subprocess.DEVNULL)
        try:
            if typed:
                os.write(terminal, f"{typed}\n".encode())
            return subprocess.run(
                [sys.executable, "-m", "deploy", "--project", "my-project", *words],
                cwd=self.root,
                env=environment,
                stdin=theirs,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            for end in {terminal, theirs} - {-1, subprocess.DEVNULL}:
                os.close(end)

    def fail(self, line: str, says: str, times: int = 100) -> None:
        """Let commands that begin so fail."""
        file = self.home / "faults"
        faults = json.loads(file.read_text()) if file.exists() else []
        file.write_text(json.dumps([*faults, {"line": line, "says": says, "times": times}]))

    def calls(self) -> list[str]:
        """What was called since the last time this was asked."""
        file = self.home / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [" ".join(json.loads(line)) for line in lines]

    def callers(self) -> str:
        """Who may call, but for the project's own people, and by which role."""
        file = self.home / "who"
        return file.read_text() if file.exists() else ""

    def service(self, region: str = "") -> dict[str, Any]:
        """The service as it was last rolled out, in a region."""
        name = f"service-{region}.yaml" if region else "service.yaml"
        made: dict[str, Any] = yaml.safe_load((self.home / name).read_text())
        return made

    def kept(self, name: str) -> Any:
        """What it has of `traffic`, `revisions`, `compute` or `backends`."""
        file = self.home / name
        return json.loads(file.read_text()) if file.exists() else []


@dataclass
class Front:
    """Cloud Run's front: lets in who shows `token`, once `refusals` have been given."""

    target: str = ""
    token: str = ""
    refusals: list[int] = field(default_factory=list)
    model: str = "0" * 64
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def front(made: Front) -> Iterator[Front]:
    """Serve it on the loopback interface; without a target it answers for the service itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            if made.refusals:
                self.answer(made.refusals.pop(0), b"not yet")
            elif made.token and self.headers.get("authorization") != f"Bearer {made.token}":
                self.answer(403, b"Google's own words")
            elif made.target:
                given = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                asked = Request(made.target + self.path, body or None, given, method=self.command)
                with urlopen(asked, timeout=60) as reply:
                    self.answer(reply.status, reply.read(), reply.headers["content-type"])
            elif self.path == "/v1/completions":
                self.answer(200, EVENTS, "text/event-stream")
            elif self.path == "/v1/models":
                self.answer(200, json.dumps({"data": [{"content_sha256": made.model}]}).encode())
            else:
                self.answer(200, b"{}")

        do_POST = do_GET

        def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _event(text: str, finish: str | None) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    about = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt2"}
    return b"data: " + json.dumps(about | {"choices": [choice]}).encode() + b"\n\n"


EVENTS = _event(" there", None) + _event(" was", "length") + b"data: [DONE]\n\n"

"""The `gcloud` commands that put the image on Vertex AI: a model, an endpoint, one on the other."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.plan import Step, gcloud
from deploy.runner import Runner
from deploy.settings import DeployError, Settings

PORT = 8080
HEALTH_ROUTE, PREDICT_ROUTE = "/health/ready", "/invocations"
# What is asked at the end, as its users ask.
REQUEST = {"instances": ["Once upon a time"], "parameters": {"max_tokens": 20}}


def roll_out(settings: Settings, runner: Runner, pinned: str, request: Path) -> str:
    """Make the model and the endpoint, deploy one on the other; return what it writes.

    Args:
        settings: What was asked for.
        runner: Runs the commands, or shows them.
        pinned: The image, by its digest.
        request: Where the body of the last question can be written.

    Raises:
        DeployError: A step failed, or it does not write.
    """
    model, number = _ids(settings, pinned)
    runner.run(_made(settings, pinned, model))
    before = _deployed(settings, runner)
    if number not in before:
        runner.run([Step(_deploy(settings, model, number))])
    for other in before:
        if other != number:  # the one before: it would be paid for on and on
            runner.run([Step(_undeploy(settings, other))])
    request.write_text(json.dumps(REQUEST), encoding="utf-8")
    if runner.dry:
        print(f"# {request}: {json.dumps(REQUEST)}")
    asked = _of_endpoint(settings, "predict", f"--json-request={request}", "--format=json")
    answer = runner.read(asked, "[]", "what GPT-2 writes")
    if not runner.dry and not json.loads(answer or "null"):
        raise DeployError("the endpoint is deployed, but did not generate; see its log")
    return answer


def remove(settings: Settings, runner: Runner) -> list[Step]:
    """Return the steps that take the endpoint and its models away."""
    listed = gcloud(
        settings,
        "ai models list",
        f"--region={settings.region}",
        f"--filter=displayName={settings.service}",
        "--format=value(name.basename())",
    )
    steps = [
        Step(_undeploy(settings, each), absent_is_fine=True) for each in _deployed(settings, runner)
    ]
    steps.append(Step(_of_endpoint(settings, "delete", "--quiet"), absent_is_fine=True))
    for model in runner.read(listed, "MODEL").split():
        steps.append(Step(_of_model(settings, "delete", model, "--quiet"), absent_is_fine=True))
    return steps


def _made(settings: Settings, pinned: str, model: str) -> list[Step]:
    """The model and the endpoint; what is there stays."""
    region, name = f"--region={settings.region}", settings.service
    upload = gcloud(
        settings,
        "ai models upload",
        region,
        f"--model-id={model}",
        f"--display-name={name}",
        f"--container-image-uri={pinned}",
        f"--container-ports={PORT}",
        f"--container-health-route={HEALTH_ROUTE}",
        f"--container-predict-route={PREDICT_ROUTE}",
    )
    ids = (f"--endpoint-id={name}", f"--display-name={name}")
    create = gcloud(settings, "ai endpoints create", region, *ids)
    return [
        Step(upload, unless=_of_model(settings, "describe", model)),
        Step(create, unless=_of_endpoint(settings, "describe")),
    ]


def _deploy(settings: Settings, model: str, number: str) -> tuple[str, ...]:
    return _of_endpoint(
        settings,
        "deploy-model",
        f"--model={model}",
        f"--display-name={settings.service}",
        f"--deployed-model-id={number}",
        f"--machine-type={settings.machine}",
        f"--min-replica-count={max(1, settings.min_instances)}",
        f"--max-replica-count={settings.max_instances}",
        "--traffic-split=0=100",
    )


def _ids(settings: Settings, pinned: str) -> tuple[str, str]:
    """The model's id, and the number that it has on the endpoint: of the image's content."""
    digest = pinned.rpartition(":")[2].lower()
    number = int(digest[:8], 16) % 10**9 if digest != "digest" else 0
    return f"{settings.service}-{digest[:12]}", str(number)


def _deployed(settings: Settings, runner: Runner) -> list[str]:
    """Numbers of what is on the endpoint; none where there is no endpoint."""
    if runner.dry:
        runner.read(_describe_deployed(settings), "", "each NUMBER that is there before")
        return ["NUMBER"]
    return runner.ask(_describe_deployed(settings)).replace(";", " ").split()


def _describe_deployed(settings: Settings) -> tuple[str, ...]:
    return _of_endpoint(settings, "describe", "--format=value(deployedModels[].id)")


def _undeploy(settings: Settings, number: str) -> tuple[str, ...]:
    return _of_endpoint(settings, "undeploy-model", f"--deployed-model-id={number}", "--quiet")


def _of_endpoint(settings: Settings, verb: str, *rest: str) -> tuple[str, ...]:
    return gcloud(
        settings, f"ai endpoints {verb}", settings.service, f"--region={settings.region}", *rest
    )


def _of_model(settings: Settings, verb: str, model: str, *rest: str) -> tuple[str, ...]:
    return gcloud(settings, f"ai models {verb}", model, f"--region={settings.region}", *rest)

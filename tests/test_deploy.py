"""The files of ``deploy/``: they parse, agree with each other and with the package, and use options the server has."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from triton_servers import server_environment

from borzoi_rt.serving.config import TENSORRT_CACHE
from borzoi_rt.serving.local.launcher import IMAGE, LOOPBACK
from borzoi_rt.serving.scorer_model import FASTA_VARIABLE

yaml = pytest.importorskip("yaml")
DEPLOY = Path(__file__).parent.parent / "deploy"
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["triton"])


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def container(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (found,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_both_start_the_same_server(service: dict[str, Any], container: dict[str, Any]) -> None:
    assert service["command"] == container["args"]
    assert {"--model-control-mode=none", "--exit-on-error=true", "--strict-readiness=true"} < set(service["command"])


def test_every_option_is_one_of_the_server(service: dict[str, Any]) -> None:
    environment = server_environment()
    shown = subprocess.run(
        [str(environment.distribution / "bin" / "tritonserver"), "--help"],
        capture_output=True,
        text=True,
        env=environment.variables(),
    )
    known = set(re.findall(r"--[a-z][a-z0-9-]+", shown.stdout + shown.stderr))
    used = {word.partition("=")[0] for word in service["command"][1:]}
    assert used
    assert used <= known


def test_compose_opens_the_loopback_alone(service: dict[str, Any]) -> None:
    assert service["ports"] == [f"{LOOPBACK}:{port}:{port}" for port in PORTS.values()]


def test_volumes_are_where_the_configurations_look(service: dict[str, Any], container: dict[str, Any]) -> None:
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounted == {"/models": True, "/genome": True, TENSORRT_CACHE: False, "/dev/shm": False}
    assert [volume.rpartition("}")[2] for volume in service["volumes"][:2]] == [":/models:ro", ":/genome:ro"]
    assert service["volumes"][2].endswith(f":{TENSORRT_CACHE}")
    assert service["environment"][FASTA_VARIABLE].startswith("/genome/")
    assert [entry["name"] for entry in container["env"]] == [FASTA_VARIABLE]


def test_names_and_ports_meet(manifests: dict[str, dict[str, Any]], container: dict[str, Any]) -> None:
    deployment, service, scaler = (manifests[kind] for kind in ("Deployment", "Service", "HorizontalPodAutoscaler"))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == PORTS
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == PORTS
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    volumes = {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes == {mount["name"] for mount in container["volumeMounts"]}
    claims = {"/models", "/genome", TENSORRT_CACHE, "/dev/shm"}
    assert claims == {mount["mountPath"] for mount in container["volumeMounts"]}


def test_probes_ask_what_they_mean(container: dict[str, Any]) -> None:
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/v2/health/ready", "readiness": "/v2/health/ready", "liveness": "/v2/health/live"}
    assert all(container[f"{name}Probe"]["httpGet"]["port"] == "http" for name in paths)


def test_pods_end_after_their_requests(service: dict[str, Any], manifests: dict[str, dict[str, Any]]) -> None:
    (limit,) = (int(word.partition("=")[2]) for word in service["command"] if word.startswith("--exit-timeout-secs"))
    assert manifests["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > limit
    assert int(service["stop_grace_period"].removesuffix("s")) > limit


def test_the_image_is_the_one_that_is_named_elsewhere() -> None:
    (base,) = re.findall(r"^FROM (\S+)$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert base == IMAGE

"""The files of ``deploy/``: what each refers to exists in another, in the package, in the server or on its page."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from triton_servers import server_environment

from borzoi_rt.backends.runtime import NO_REPORTS
from borzoi_rt.cli import main
from borzoi_rt.serving.config import FASTA_VARIABLE, TENSORRT_CACHE, Limits
from borzoi_rt.serving.local.launcher import CLOSED, DRAIN_S, IMAGE, LOOPBACK, SERVER_OPTIONS, TritonServer

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
NGINX = (DEPLOY / "nginx.conf").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
MANIFESTS = {
    item["kind"]: item
    for name in KUSTOMIZATION["resources"]
    for item in yaml.safe_load_all((DEPLOY / name).read_text())
}
POD = MANIFESTS["Deployment"]["spec"]["template"]
CONTAINERS = {item["name"]: item for item in POD["spec"]["containers"]}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVERS = {"compose": COMPOSE["services"]["triton"]["command"], "kubernetes": CONTAINERS["triton"]["args"]}
# Of the server; what nginx listens on is read from its configuration.
TRITON_PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}


def values(document: Any, key: str) -> Iterator[Any]:
    """Yield everything that stands under a key, wherever it is."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(document, list):
        for item in document:
            yield from values(item, key)


def listening() -> list[int]:
    return [int(port) for port in re.findall(r"listen (\d+)", NGINX)]


def locations(port: int) -> list[str]:
    """Return the patterns that one server of the proxy answers."""
    server = next(part for part in NGINX.split("server {")[1:] if f"listen {port}" in part)
    return re.findall(r"location ~ (\S+) \{", server)


# The server that is started


@pytest.mark.parametrize("kind", SERVERS)
def test_every_way_starts_the_same_server(kind: str) -> None:
    program, *options = SERVERS[kind]
    assert program == "tritonserver"
    assert options[: len(SERVER_OPTIONS)] == list(SERVER_OPTIONS)


@pytest.mark.parametrize("kind", SERVERS)
def test_every_option_is_one_of_the_server(kind: str) -> None:
    environment = server_environment()
    binary = str(environment.distribution / "bin" / "tritonserver")
    shown = subprocess.run([binary, "--help"], capture_output=True, text=True, env=environment.variables())
    known = set(re.findall(r"--[a-z][a-z0-9-]+", shown.stdout + shown.stderr))
    used = {word.partition("=")[0] for word in SERVERS[kind][1:]}
    assert len(used) > 7
    assert used <= known


@pytest.mark.parametrize("kind", SERVERS)
def test_interfaces_are_closed_by_a_key_that_is_written_nowhere(kind: str) -> None:
    rules = [word.partition("=")[2] for word in SERVERS[kind] if "restricted" in word]
    assert len(rules) == 2
    for rule in rules:
        names, _, key = rule.partition(":borzoi-rt-closed=")
        assert set(names.split(",")) == set(CLOSED)
        assert key.startswith(("${CLOSED_KEY:?", "$(CLOSED_KEY)"))  # an error, or a pod that does not start, without it
    held = {item["name"]: item.get("valueFrom", {}) for item in CONTAINERS["triton"]["env"]}
    assert "secretKeyRef" in held["CLOSED_KEY"]


def test_the_genome_is_where_the_scorer_looks() -> None:
    compose = COMPOSE["services"]["triton"]
    held = {item["name"]: item.get("value") for item in CONTAINERS["triton"]["env"]}
    for fasta in (compose["environment"][FASTA_VARIABLE], held[FASTA_VARIABLE]):
        assert fasta.startswith("/genome/")
    targets = [volume.rsplit(":", 1 if volume.count(":ro") == 0 else 2)[1] for volume in compose["volumes"]]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in CONTAINERS["triton"]["volumeMounts"]}
    assert {"/models", "/genome", TENSORRT_CACHE} <= set(targets)
    assert mounts == {"/models": True, "/genome": True, TENSORRT_CACHE: False, "/dev/shm": False, "/tmp": False}


# What the files say of each other


def test_every_file_is_applied_and_every_applied_file_is_there() -> None:
    named = [
        *KUSTOMIZATION["resources"],
        *(name for item in KUSTOMIZATION["configMapGenerator"] for name in item["files"]),
    ]
    others = {"kustomization.yaml", "compose.yaml", "Dockerfile", "lock.py", "requirements.lock"}
    assert {path.name for path in DEPLOY.iterdir() if path.is_file()} == {*named, *others}


def test_every_port_that_is_referred_to_is_one_that_something_listens_on() -> None:
    ports = {port["name"]: port["containerPort"] for item in CONTAINERS.values() for port in item["ports"]}
    assert ports.pop("metrics") == TRITON_PORTS["metrics"]
    assert sorted(ports.values()) == sorted(listening())
    known = {*ports, "metrics"}
    service = {port["name"]: port for port in MANIFESTS["Service"]["spec"]["ports"]}
    assert {port["targetPort"] for port in service.values()} <= known
    policy = [port["port"] for rule in MANIFESTS["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    assert set(policy) <= known
    assert {item["port"] for item in MANIFESTS["ServiceMonitor"]["spec"]["endpoints"]} <= set(service)
    probed = {probe["port"] for item in CONTAINERS.values() for probe in values(item, "httpGet")}
    assert probed == {"probes"}
    upstream = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+);", NGINX)}
    assert upstream == {TRITON_PORTS["http"], TRITON_PORTS["grpc"]}
    published = {int(port.rpartition(":")[2]) for port in COMPOSE["services"]["triton"]["ports"]}
    assert published == {8443, TRITON_PORTS["metrics"]}
    assert all(port.startswith(f"{LOOPBACK}:") for port in COMPOSE["services"]["triton"]["ports"])


def test_triton_is_reached_through_the_proxy_alone() -> None:
    assert {f"--{name}-address={LOOPBACK}" for name in ("http", "grpc")} <= set(SERVERS["kubernetes"])
    names = {port["name"] for port in MANIFESTS["Service"]["spec"]["ports"]}
    assert names == {"tls", "metrics"}
    assert COMPOSE["services"]["proxy"]["network_mode"] == "service:triton"
    assert MANIFESTS["NetworkPolicy"]["spec"]["egress"] == []
    assert set(MANIFESTS["NetworkPolicy"]["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_selectors_find_the_pods_and_the_service() -> None:
    labels = POD["metadata"]["labels"].items()
    for kind, path in (
        ("Deployment", ("selector", "matchLabels")),
        ("Service", ("selector",)),
        ("PodDisruptionBudget", ("selector", "matchLabels")),
        ("NetworkPolicy", ("podSelector", "matchLabels")),
    ):
        selector = MANIFESTS[kind]["spec"]
        for key in path:
            selector = selector[key]
        assert selector
        assert selector.items() <= labels, kind
    monitored = MANIFESTS["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= MANIFESTS["Service"]["metadata"]["labels"].items()
    target = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = MANIFESTS["Deployment"]
    assert target == {"apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": "borzoi-triton"}
    assert target["name"] == deployment["metadata"]["name"]
    # A budget that allows no pod to go stops every upgrade of the cluster.
    least = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["minAvailable"] < least == deployment["spec"]["replicas"]


def test_volumes_claims_and_secrets_are_declared_or_said_to_be_needed() -> None:
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    mounted = {mount["name"] for item in CONTAINERS.values() for mount in item["volumeMounts"]}
    assert mounted == set(volumes)
    made = {item["name"] for item in KUSTOMIZATION["configMapGenerator"]}
    assert {item["name"] for item in values(volumes, "configMap")} == made
    needed = {*values(POD, "claimName"), *values(POD, "secretName")}
    needed |= {item["name"] for item in values(POD, "secretKeyRef")}
    assert len(needed) == 5
    header = (DEPLOY / "kustomization.yaml").read_text()
    assert all(f"`{name}`" in header for name in needed)
    assert set(re.findall(r"/tls/(\S+?);", NGINX)) == {"tls.crt", "tls.key", "ca.crt"}


def test_images_are_those_that_are_built_or_pulled() -> None:
    repository = IMAGE.partition(":")[0]
    assert {item["image"] for item in CONTAINERS.values()} == {item["name"] for item in KUSTOMIZATION["images"]}
    assert CONTAINERS["triton"]["image"] == repository
    assert COMPOSE["services"]["triton"]["image"].partition(":")[0] == repository
    assert f"-t {IMAGE} ." in DOCKERFILE


# Safety of the containers


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_can_do_little(name: str) -> None:
    context = CONTAINERS[name]["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["securityContext"]["runAsNonRoot"]
    assert POD["spec"]["automountServiceAccountToken"] is False
    limits = CONTAINERS[name]["resources"]["limits"]
    assert {"cpu", "memory", "ephemeral-storage"} <= set(limits)
    service = COMPOSE["services"][name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["mem_limit"]


def test_requests_under_way_end_before_the_pod_does() -> None:
    assert f"--exit-timeout-secs={DRAIN_S}" in SERVERS["kubernetes"]
    waits = {name: int(item["lifecycle"]["preStop"]["exec"]["command"][1]) for name, item in CONTAINERS.items()}
    # The proxy must outlive what it passes on.
    assert POD["spec"]["terminationGracePeriodSeconds"] > waits["proxy"] > waits["triton"] + DRAIN_S
    assert int(COMPOSE["services"]["triton"]["stop_grace_period"].removesuffix("s")) > DRAIN_S


# The proxy


def test_a_whole_request_of_the_published_model_fits_and_no_much_larger_one() -> None:
    (size,) = re.findall(r"client_max_body_size (\d+)m;", NGINX)
    needed = Limits().windows * 4 * 524_288 / 2**20
    assert needed < int(size) < 1.5 * needed
    assert "proxy_request_buffering on;" in NGINX  # or a client's chunks would reach the server
    for bound in ("client_body_timeout", "client_header_timeout", "limit_conn ", "limit_req ", "ssl_verify_client on"):
        assert bound in NGINX


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/models/borzoi/infer", True),
        ("/v2/models/borzoi_scorer/versions/123/infer", True),
        ("/v2/models/borzoi_scorer/config", True),
        ("/v2/health/ready", True),
        ("/inference.GRPCInferenceService/ModelInfer", True),
        ("/inference.GRPCInferenceService/ModelConfig", True),
        ("/inference.GRPCInferenceService/ModelStreamInfer", False),
        ("/inference.GRPCInferenceService/SystemSharedMemoryRegister", False),
        ("/inference.GRPCInferenceService/RepositoryModelLoad", False),
        ("/inference.GRPCInferenceService/LogSettings", False),
        ("/v2/logging", False),
        ("/v2/systemsharedmemory/region/x/register", False),
        ("/v2/repository/index", False),
        ("/v2/repository/models/x/load", False),
        ("/v2/models/borzoi/trace/setting", False),
        ("/v2/models/../logging", False),
        ("/metrics", False),
    ],
)
def test_the_proxy_passes_on_what_a_client_needs_and_no_more(path: str, allowed: bool) -> None:
    assert any(re.search(pattern, path) for pattern in locations(8443)) is allowed


def test_probes_reach_endpoints_that_the_server_has(triton_server: TritonServer) -> None:
    """Each container by its own liveness: that of another would start it again for nothing, and leave what hangs."""
    server, proxy = CONTAINERS["triton"], CONTAINERS["proxy"]
    asked = {name: server[f"{name}Probe"]["exec"]["command"] for name in ("startup", "liveness")}
    ready = proxy["readinessProbe"]["httpGet"]["path"]
    here = f"http://127.0.0.1:{TRITON_PORTS['http']}"
    assert asked["startup"][-1] == f"{here}{ready}"
    assert all(command[0] == "curl" and "--fail" in command and "--max-time" in command for command in asked.values())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in {ready, *(command[-1].removeprefix(here) for command in asked.values())}:
        assert any(re.search(pattern, path) for pattern in locations(8080))
        with opener.open(f"http://{triton_server.http}{path}", timeout=10) as reply:
            assert reply.status == 200
    own = proxy["livenessProbe"]["httpGet"]["path"]
    assert re.search(rf"location = {own} {{[^}}]*return 200;", NGINX)
    checked = COMPOSE["services"]["triton"]["healthcheck"]["test"][-1]
    assert checked == f"{here}{ready}"
    assert f'"{checked}"' in DOCKERFILE


def test_alerts_ask_for_metrics_that_the_server_gives(triton_server: TritonServer) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    (path,) = {item["path"] for item in MANIFESTS["ServiceMonitor"]["spec"]["endpoints"]}
    with opener.open(f"http://{triton_server.metrics}{path}", timeout=10) as reply:
        given = set(re.findall(r"^(nv_\w+)", reply.read().decode(), flags=re.MULTILINE))
    rules = [rule for group in MANIFESTS["PrometheusRule"]["spec"]["groups"] for rule in group["rules"]]
    asked = {name for rule in rules for name in re.findall(r"nv_\w+", rule["expr"])}
    assert len(asked) == 4
    assert asked <= given
    assert f'service="{MANIFESTS["Service"]["metadata"]["name"]}"' in rules[0]["expr"]
    page = (ROOT / "docs" / "serving.md").read_text()
    assert all(rule["alert"] in page for rule in rules)


# The image


def ignored(path: str) -> bool:
    """Tell whether the build context lacks a file, by the rules of ``.dockerignore``: the last that fits decides."""
    found = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!").removeprefix("**/")
        if not line or line.startswith("#"):
            continue
        parts = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
        if any(fnmatch.fnmatch(part, rule) or fnmatch.fnmatch(Path(part).name, rule) for part in parts):
            found = not line.startswith("!")
    return found


def test_what_the_image_copies_is_there_and_in_the_context() -> None:
    copied = [word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, flags=re.M) for word in line.split()[:-1]]
    assert len(copied) > 6
    for name in copied:
        assert (ROOT / name).exists(), name
        assert not ignored(name), name
    for name in (".git", "tests", "models/weights.bin", "deploy/nginx.conf", "genome.fa", "secret.key", "docs/x.md"):
        assert ignored(name), name


def test_the_build_needs_what_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    copied = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, flags=re.M) for word in line.split()[:-1]}
    assert {name.replace("borzoi_export", "export") for name in needed} <= copied


def test_the_image_runs_as_nobody_in_particular_and_reports_nothing() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, flags=re.M)
    pod = POD["spec"]["securityContext"]
    assert user == (str(pod["runAsUser"]), str(pod["runAsGroup"]))
    assert int(user[0]) > 0
    (line,) = re.findall(r"^ENV (.+)$", DOCKERFILE, flags=re.M)
    held = dict(word.split("=") for word in line.split())
    assert NO_REPORTS.items() <= held.items()


def test_the_lock_has_every_requirement_with_a_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (DEPLOY / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    locked = {}
    for line in lines:
        found = re.fullmatch(r"([A-Za-z0-9_.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line)
        assert found, line
        locked[found[1].lower().replace("_", "-")] = found[2]
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["gpu"]):
        name, _, least = requirement.replace("[cuda,cudnn]", "").partition(">=")
        assert tuple(map(int, locked[name].split(".")[:2])) >= tuple(map(int, least.split(".")[:2])), requirement


# Commands in the files and on the page


def commands(text: str) -> Iterator[list[str]]:
    """Yield the calls of `borzoi-rt` in a text."""
    for line in re.findall(r"(?:^|`|&& )(borzoi-rt [^`\n#&]+)", text, flags=re.MULTILINE):
        yield shlex.split(line.strip().rstrip("\\"))[1:]


FILES = [
    *sorted(path for path in DEPLOY.iterdir() if path.is_file()),
    ROOT / "docs" / "serving.md",
    ROOT / "SECURITY.md",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_named_is_one_of_ours(path: Path) -> None:
    for words in commands(path.read_text()):
        command: click.Command = main
        context = click.Context(main)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(context, words[0])
            assert found is not None, words
            command, words = found, words[1:]
        known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)} | {"--help"}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known, (path.name, words, used - known)


def test_the_page_names_commands() -> None:
    assert sum(1 for _ in commands((ROOT / "docs" / "serving.md").read_text())) > 6

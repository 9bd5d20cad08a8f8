"""The Kubernetes manifests: valid by the published schemas, and in agreement with the program and with each other."""

import copy
import runpy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ruamel.yaml import YAML

from infra.rabbitmq.topology import WORK_QUEUE
from tests.support.manifests import KUBERNETES, Manifest, named, objection, rendered
from tests.support.metric_names import unknown_in
from tests.support.system import PROJECT
from worker.cli import cli
from worker.settings import load_settings, unknown_variables

ALL = rendered("overlays/example")
SERVERS = rendered("examples")
PODS = [manifest for manifest in ALL if manifest["kind"] == "Deployment"]
DOCUMENTATION = (PROJECT / "docs" / "kubernetes.md").read_text()

each = pytest.mark.parametrize("manifest", ALL, ids=named)
each_deployment = pytest.mark.parametrize("deployment", PODS, ids=named)


def one(kind: str, name: str, *, among: tuple[Manifest, ...] = ALL) -> Manifest:
    [found] = [each for each in among if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def containers(deployment: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return found


def ours(deployment: Manifest) -> list[dict[str, Any]]:
    """The containers that run this program."""
    return [container for container in containers(deployment) if "logistics" in container["image"]]


def pods_labelled(labels: Mapping[str, str]) -> list[str]:
    """The deployments whose pods a selector finds."""
    return [
        each["metadata"]["name"]
        for each in PODS
        if labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    ]


def environment() -> dict[str, str]:
    return dict(one("ConfigMap", "logistics-settings")["data"])


@each
def test_a_manifest_is_valid_by_the_published_schema_of_its_kind(manifest: Manifest) -> None:
    assert objection(manifest) is None


@pytest.mark.parametrize("manifest", rendered("base"), ids=named)
def test_the_base_is_valid_without_any_addition(manifest: Manifest) -> None:
    assert objection(manifest) is None
    assert "." not in manifest["apiVersion"] or manifest["apiVersion"].partition("/")[0].endswith(".k8s.io")


@pytest.mark.parametrize("manifest", [each for each in SERVERS if each["kind"] == "PodDisruptionBudget"], ids=named)
def test_what_the_examples_have_of_plain_kubernetes_is_valid(manifest: Manifest) -> None:
    assert objection(manifest) is None


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [("Deployment", "logistics-worker", "replicaz"), ("ScaledObject", "logistics-worker", "maxReplicas")],
)
def test_a_field_that_no_schema_knows_would_be_noticed(kind: str, name: str, field: str) -> None:
    wrong = copy.deepcopy(one(kind, name))
    wrong["spec"][field] = 1
    assert objection(wrong) is not None


def test_a_value_of_the_wrong_type_would_be_noticed() -> None:
    wrong = copy.deepcopy(one("ScaledObject", "logistics-worker"))
    wrong["spec"]["triggers"][0]["metadata"] = "orders.work"
    assert objection(wrong) is not None


def test_the_settings_are_ones_the_program_reads_and_takes() -> None:
    variables = environment()
    for deployment in PODS:
        for container in ours(deployment):
            variables |= {variable["name"]: variable["value"] for variable in container.get("env", [])}
    assert unknown_variables(variables) == []
    values = {name: value for name, value in variables.items() if not value.startswith("/run/secrets/logistics/")}
    assert load_settings({**values, "LOGISTICS_DATA_DIR": "/nonexistent"}).drain_timeout == 30


@each_deployment
def test_every_file_that_a_setting_names_is_mounted(deployment: Manifest) -> None:
    for container in ours(deployment):
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        variables = environment() | {each["name"]: each["value"] for each in container.get("env", [])}
        for path in (value for name, value in variables.items() if name.endswith("_FILE")):
            assert path.rpartition("/")[0] in mounts


def test_a_worker_has_time_to_drain() -> None:
    worker = one("Deployment", "logistics-worker")["spec"]["template"]["spec"]
    assert (
        worker["terminationGracePeriodSeconds"] >= load_settings({"LOGISTICS_DRAIN_TIMEOUT": "30s"}).drain_timeout + 15
    )


@each_deployment
def test_a_pod_may_do_nothing_it_need_not(deployment: Manifest) -> None:
    pod = deployment["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(deployment):
        allowed = container["securityContext"]
        assert allowed["readOnlyRootFilesystem"] is True
        assert allowed["allowPrivilegeEscalation"] is False
        assert allowed["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@each_deployment
def test_a_pod_gets_no_variables_of_services_that_would_look_like_settings(deployment: Manifest) -> None:
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


@each_deployment
def test_an_image_is_named_with_its_version(deployment: Manifest) -> None:
    assert all(":" in container["image"].rpartition("/")[2] for container in containers(deployment))


@each_deployment
def test_a_pod_runs_a_command_that_the_program_has(deployment: Manifest) -> None:
    for container in ours(deployment):
        words = [*container.get("command", ["logistics"]), *container.get("args", [])]
        line = " ".join(words)
        assert line.partition("logistics ")[2].split()[0] in cli.list_commands(None)  # type: ignore[arg-type]


@each_deployment
def test_probes_and_ports_go_by_the_same_names(deployment: Manifest) -> None:
    for container in containers(deployment):
        ports = {port["name"] for port in container.get("ports", [])}
        probes = [container[probe] for probe in container if probe.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes} <= ports
        assert {probe["httpGet"]["path"] for probe in probes} <= {"/livez", "/readyz"}


def test_every_secret_is_explained() -> None:
    secrets = {
        volume["secret"]["secretName"]
        for deployment in PODS
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    asked = one("TriggerAuthentication", "logistics-rabbitmq-management")["spec"]["secretTargetRef"]
    for name in secrets | {reference["name"] for reference in asked}:
        assert f"create secret generic {name}" in DOCUMENTATION


def selectors() -> Iterator[tuple[str, Mapping[str, str]]]:
    for manifest in ALL:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            yield named(manifest), spec["selector"]
        elif manifest["kind"] in {"PodDisruptionBudget", "PodMonitor", "Deployment"}:
            yield named(manifest), spec["selector"]["matchLabels"]
        elif manifest["kind"] == "NetworkPolicy" and "matchLabels" in spec["podSelector"]:
            yield named(manifest), spec["podSelector"]["matchLabels"]


@pytest.mark.parametrize(("name", "labels"), list(selectors()))
def test_whatever_selects_pods_finds_some(name: str, labels: Mapping[str, str]) -> None:
    assert pods_labelled(labels), name


def test_the_network_lets_through_to_the_servers_of_the_examples() -> None:
    allowed = [
        peer["podSelector"]["matchLabels"]
        for rule in one("NetworkPolicy", "logistics-default")["spec"]["egress"]
        for peer in rule["to"]
    ]
    [rabbitmq] = (each["metadata"]["name"] for each in SERVERS if each["kind"] == "RabbitmqCluster")
    [mongodb] = (each["metadata"]["name"] for each in SERVERS if each["kind"] == "MongoDBCommunity")
    assert {"app.kubernetes.io/name": rabbitmq} in allowed  # the label the RabbitMQ operator gives its pods
    assert {"app": f"{mongodb}-svc"} in allowed  # the label the MongoDB operator gives its own


def test_workers_are_as_many_as_the_scaler_says_and_no_manifest_says_otherwise() -> None:
    assert "replicas" not in one("Deployment", "logistics-worker")["spec"]
    assert one("ScaledObject", "logistics-worker")["spec"]["scaleTargetRef"]["name"] == "logistics-worker"
    assert one("Deployment", "logistics-worker", among=rendered("base"))["spec"]["replicas"] == 2


def test_scaling_goes_by_orders_waiting_and_in_hand_and_by_the_oldest() -> None:
    in_queue, oldest = one("ScaledObject", "logistics-worker")["spec"]["triggers"]
    assert in_queue["metadata"]["queueName"] == WORK_QUEUE
    assert (in_queue["metadata"]["protocol"], in_queue["metadata"]["excludeUnacknowledged"]) == ("http", "false")
    assert unknown_in(oldest["metadata"]["query"]) == []


def test_the_alert_rules_are_those_of_prometheus() -> None:
    made = runpy.run_path(str(KUBERNETES / "monitoring" / "make_rules.py"))["rules"]()
    said = "make them again: python deploy/kubernetes/monitoring/make_rules.py"
    assert (KUBERNETES / "monitoring" / "rules.yaml").read_text() == made, said
    alerts = YAML(typ="safe").load(PROJECT / "deploy" / "prometheus" / "alerts.yml")
    assert one("PrometheusRule", "logistics")["spec"] == alerts


def test_the_rules_know_the_jobs_by_the_names_of_the_pods() -> None:
    for monitor in (each for each in ALL if each["kind"] == "PodMonitor"):
        label = monitor["spec"]["jobLabel"]
        [deployment] = pods_labelled(monitor["spec"]["selector"]["matchLabels"])
        pod = one("Deployment", deployment)["spec"]["template"]["metadata"]
        assert pod["labels"][label] == deployment
        ports = {
            port["name"]
            for container in containers(one("Deployment", deployment))
            for port in container.get("ports", [])
        }
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= ports

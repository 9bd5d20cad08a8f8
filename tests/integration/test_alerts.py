"""The alert rules: promtool's own tests of them, and that they ask for what there is and point to what can be read."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.metric_names import exported, overview_page, unknown_in, worker_page
from tests.support.promtool import promtool
from tests.support.system import PROJECT

FOLDER = PROJECT / "deploy" / "prometheus"


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load(FOLDER / "alerts.yml")
    return [rule for group in document["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def named(rule: dict[str, Any]) -> str:
    return str(rule["alert"])


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as they are made of them where it is shown."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [worker_page(), overview_page()], ids=["worker", "overview"])
def test_promtool_has_nothing_to_say_about_a_page_of_metrics(page: bytes) -> None:
    assert promtool("check", "metrics", page=page) == (0, "")


def test_configuration_and_rules_are_valid() -> None:
    code, words = promtool("check", "config", FOLDER / "prometheus.yml")
    assert code == 0, words


def test_every_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    code, words = promtool("test", "rules", FOLDER / "alerts.test.yml")
    assert code == 0, words


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_is_seen_firing_in_promtool_s_tests(alert: dict[str, Any]) -> None:
    document = YAML(typ="safe").load(FOLDER / "alerts.test.yml")
    fired = [
        test["alertname"]
        for scene in document["tests"]
        for test in scene.get("alert_rule_test", [])
        if test["exp_alerts"]
    ]
    assert alert["alert"] in fired


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert len(alert["annotations"]["summary"]) > 20
    path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor in anchors(PROJECT / path)


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_has_its_line_in_the_documentation(alert: dict[str, Any]) -> None:
    assert f"`{alert['alert']}`" in (PROJECT / "docs" / "monitoring.md").read_text()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule.get("alert", rule.get("record"))))
def test_a_rule_asks_only_for_metrics_and_labels_that_are_exported(rule: dict[str, Any]) -> None:
    assert unknown_in(rule["expr"]) == []


@pytest.mark.parametrize("name", sorted(exported()))
def test_a_metric_has_its_line_in_the_documentation(name: str) -> None:
    family = re.sub(r"_(bucket|count|sum)$", "", name)
    listed = (PROJECT / "docs" / "monitoring.md").read_text()
    assert re.search(rf"^\| `{family}`", listed, flags=re.MULTILINE) or family.startswith("process_")


def test_every_expression_of_the_documentation_asks_for_what_is_exported() -> None:
    [block] = re.findall(r"```promql\n(.*?)```", (PROJECT / "docs" / "monitoring.md").read_text(), flags=re.DOTALL)
    for line in block.splitlines():
        assert unknown_in(line.partition("#")[0]) == []


def test_a_metric_that_nobody_exports_would_be_noticed() -> None:
    expression = 'sum(logistics_held{queue="a",nobody="b"}) + logistics_unheard_of + up{job="x"}'
    assert unknown_in(expression) == ["logistics_held{nobody}", "logistics_unheard_of"]

"""The Grafana dashboard: every expression parses and asks for what is exported, and every panel says what it shows."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.dashboard import DASHBOARD, PANELS, expressions
from tests.support.metric_names import unknown_in
from tests.support.promtool import promtool


def titled(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def test_every_expression_parses(tmp_path: Path) -> None:
    rules = [{"record": f"dashboard:{number}", "expr": text} for number, text in enumerate(expressions())]
    file = tmp_path / "rules.yml"
    YAML(typ="safe").dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
    code, words = promtool("check", "rules", file)
    assert code == 0, words
    assert f"{len(rules)} rules found" in words


def test_no_variable_is_used_that_is_not_there() -> None:
    assert all("$" not in text for text in expressions())
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "worker"}


@pytest.mark.parametrize("panel", PANELS, ids=titled)
def test_a_panel_asks_only_for_metrics_and_labels_that_are_exported(panel: dict[str, Any]) -> None:
    assert [unknown_in(target["expr"]) for target in panel["targets"]] == [[]] * len(panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=titled)
def test_a_panel_says_what_it_shows_in_which_unit_and_takes_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 8
    assert panel["fieldConfig"]["defaults"]["unit"]
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_panels_have_ids_of_their_own_and_lie_beside_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = any(one[x] + one[w] <= other[x] or other[x] + other[w] <= one[x] for x, w in (("x", "w"), ("y", "h")))
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)

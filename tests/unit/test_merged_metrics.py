"""One metrics page for several processes."""

from prometheus_client.parser import text_string_to_metric_families

from infra.telemetry.merged_metrics import ProcessState, merged_page

_PAGE = """\
# HELP logistics_deliveries_total Deliveries settled.
# TYPE logistics_deliveries_total counter
logistics_deliveries_total{{queue="orders.work",detail="a \\"b\\""}} {count}
# HELP seconds Durations.
# TYPE seconds histogram
seconds_bucket{{le="1.0"}} {count}
seconds_bucket{{le="+Inf"}} {count}
seconds_count {count}
seconds_sum 0.5
"""


def page(count: float) -> str:
    return _PAGE.format(count=count)


def test_every_sample_carries_the_number_of_its_process_and_none_is_added_up() -> None:
    lines = merged_page({1: ProcessState(0, page(3.0)), 2: ProcessState(0, page(4.0))}).decode().splitlines()
    for number, count in ((1, "3.0"), (2, "4.0")):
        assert (
            f'logistics_deliveries_total{{detail="a \\"b\\"",process="{number}",queue="orders.work"}} {count}' in lines
        )
        assert f'seconds_bucket{{le="+Inf",process="{number}"}} {count}' in lines
        assert f'seconds_count{{process="{number}"}} {count}' in lines


def test_a_family_is_described_once_however_many_processes_have_it() -> None:
    lines = merged_page({n: ProcessState(0, page(1.0)) for n in range(1, 5)}).decode().splitlines()
    described = [line for line in lines if line.startswith("# TYPE")]
    assert len(described) == len(set(described)) == 4
    assert "# TYPE logistics_deliveries_total counter" in described
    assert "# TYPE seconds histogram" in described


def test_a_process_that_is_away_is_shown_as_that_and_the_others_as_ever() -> None:
    text = merged_page({1: ProcessState(7, None), 2: ProcessState(0, page(4.0))}).decode()
    lines = text.splitlines()
    assert 'logistics_process_up{process="1"} 0.0' in lines
    assert 'logistics_process_up{process="2"} 1.0' in lines
    assert 'logistics_process_restarts_total{process="1"} 7.0' in lines
    assert sum(family.name == "seconds" for family in text_string_to_metric_families(text)) == 1

"""An address that names several nodes of a cluster."""

from collections import Counter
from urllib.parse import urlsplit

from infra.rabbitmq.nodes import node_urls
from worker.settings import load_settings

CLUSTER = "amqps://wor,ker:p%40ss,word@one:5671,[::1]:5671,three/orders?heartbeat=5"


def test_an_address_with_one_host_stays_as_it_is() -> None:
    for url in ("amqp://worker:a,b@rabbit:5672/orders", "amqp://rabbit", "amqp://rabbit:5672/%2F?name=a,b"):
        assert node_urls(url) == [url]


def test_each_host_gets_the_same_login_vhost_and_options() -> None:
    assert sorted(node_urls(CLUSTER)) == [
        "amqps://wor,ker:p%40ss,word@[::1]:5671/orders?heartbeat=5",
        "amqps://wor,ker:p%40ss,word@one:5671/orders?heartbeat=5",
        "amqps://wor,ker:p%40ss,word@three/orders?heartbeat=5",
    ]


def test_every_node_is_tried_first_now_and_then() -> None:
    firsts = Counter(urlsplit(node_urls(CLUSTER)[0]).hostname for _ in range(300))
    assert firsts.keys() == {"one", "::1", "three"}
    assert min(firsts.values()) > 50


def test_the_setting_takes_several_nodes() -> None:
    settings = load_settings({"LOGISTICS_AMQP_URL": CLUSTER, "LOGISTICS_DATA_DIR": "/nonexistent"})
    assert settings.required("amqp_url") == CLUSTER

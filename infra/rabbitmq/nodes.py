"""The nodes of a cluster, where an address names several: `amqp://user:password@one:5672,two:5672/vhost`."""

import random
from urllib.parse import urlsplit


def node_urls(url: str) -> list[str]:
    """Return an address for each host named, in random order, so that connections spread over the nodes."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    urls = [parts._replace(netloc=f"{login}{at}{host}").geturl() for host in hosts.split(",")]
    return random.sample(urls, k=len(urls))

"""Who is at the other end of LOGISTICS_AMQP_URL."""

from dataclasses import dataclass

from infra.rabbitmq.connection import connect


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """What a broker says of itself when a connection opens."""

    product: str
    version: str
    cluster: str


async def identify_broker(url: str) -> BrokerIdentity:
    """Return who answers, having logged in there. Raises BrokerUnavailableError."""
    connection = await connect(url, name="logistics doctor")
    try:
        said = connection.transport.connection.server_properties if connection.transport else {}
        product, version, cluster = (str(said.get(name, "?")) for name in ("product", "version", "cluster_name"))
        return BrokerIdentity(product, version, cluster)
    finally:
        await connection.close()

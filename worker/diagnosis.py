"""What is wrong with settings and servers, and what to do about it. Nothing is dispatched, nothing declared."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from infra.mongodb.probe import check_write
from infra.mongodb.store import MongoStore
from infra.rabbitmq import topology_check
from infra.rabbitmq.probe import BrokerIdentity, identify_broker
from infra.rabbitmq.topology import OLDEST_RABBITMQ, Topology
from infra.supplier.probe import probe_supplier
from worker.domain.errors import LogisticsError, NotPermittedError
from worker.finding import Finding, Verdict
from worker.settings import Settings
from worker.settings_report import SettingLine, report_settings
from worker.timing_check import check_timing
from worker.topology_remedy import in_words, is_missing, remedy

_PATIENCE = 5.0
"""Seconds for one check."""
_STORE_TIMEOUT = 4.0
_SUPPLIER_TIMEOUT = 4.0
_SETTING = {"broker": "amqp_url", "topology": "amqp_url", "store": "mongodb_uri", "supplier": "supplier_url"}

Check = Callable[[Settings], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every setting, and what the checks found, in the order they are shown."""

    settings: Sequence[SettingLine]
    findings: Sequence[Finding]

    def count(self, verdict: Verdict) -> int:
        """Return how many settings and findings have this verdict."""
        verdicts = [line.verdict for line in self.settings] + [finding.verdict for finding in self.findings]
        return verdicts.count(verdict)


async def diagnose(environment: Mapping[str, str]) -> Diagnosis:
    """Check an environment and the servers it names, all at once, within about 10 s. Raises nothing on purpose.

    The store gets one small document written and deleted again; the supplier gets one GET.
    """
    report = report_settings(environment)
    found = await asyncio.gather(
        _broker_then_topology(report.settings),
        _bounded("store", _check_store, report.settings),
        _bounded("supplier", _check_supplier, report.settings),
    )
    findings = [finding for part in found for finding in part]
    return Diagnosis(report.lines, [*report.unknown, *findings, *check_timing(report.settings)])


async def _broker_then_topology(settings: Settings) -> list[Finding]:
    broker = await _bounded("broker", _check_broker, settings)
    if any(finding.verdict in {Verdict.NOTE, Verdict.PROBLEM} for finding in broker):
        return broker  # the topology would only fail in the same words
    return [*broker, *await _bounded("topology", _check_topology, settings)]


async def _bounded(area: str, check: Check, settings: Settings) -> list[Finding]:
    setting = _SETTING[area]
    if getattr(settings, setting) is None:
        return [Finding(area, Verdict.NOTE, "not checked: its address is not set, or wrong")]
    advice = f"check that the server runs, and LOGISTICS_{setting.upper()}"
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check(settings)
    except TimeoutError:
        return [Finding(area, Verdict.PROBLEM, f"no answer within {_PATIENCE:g} s", advice)]
    except LogisticsError as error:
        return [Finding(area, Verdict.PROBLEM, str(error), advice)]
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others found
        # Not its text, which may repeat an address with its password.
        return [Finding(area, Verdict.PROBLEM, f"the check broke: {type(error).__name__}", advice)]


async def _check_broker(settings: Settings) -> list[Finding]:
    return [_judge_broker(await identify_broker(settings.required("amqp_url")))]


async def _check_topology(settings: Settings) -> list[Finding]:
    topology = Topology(settings.retry_delays)
    url = settings.required("amqp_url")
    try:
        differences, may_compare = await topology_check.differences(topology, url), True
    except NotPermittedError:  # as it should be for every user but a worker's: who may configure may delete
        differences, may_compare = await topology_check.missing(topology, url), False
    if not differences and not may_compare:
        text = (
            f"all {len(topology.queues)} queues and their exchanges are there, as far as this user may see; "
            "it may not see how they differ"
        )
        advice = "right for a user that publishes or operates; a worker's user needs what docs/security.md lists"
        return [Finding("topology", Verdict.NOTE, text, advice)]
    if not differences:
        return [Finding("topology", Verdict.OK, f"all {len(topology.queues)} queues and their exchanges are right")]
    missing = [difference.name for difference in differences if is_missing(difference)]
    findings = [
        Finding(
            "topology",
            Verdict.PROBLEM,
            in_words(difference),
            remedy(difference, delays=topology.delay_labels, differing=differences),
        )
        for difference in differences
        if not is_missing(difference)
    ]
    if missing:
        advice = "run 'logistics topology declare'; a worker that starts does the same"
        findings.append(Finding("topology", Verdict.WARNING, f"missing: {', '.join(missing)}", advice))
    return findings


async def _check_store(settings: Settings) -> list[Finding]:
    store = MongoStore(
        settings.required("mongodb_uri"),
        database=settings.mongodb_database,
        timeout=min(settings.store_timeout, _STORE_TIMEOUT),
    )
    try:
        await store.ping()
        about = await store.describe()
        await check_write(store)
    finally:
        await store.close()
    name = f"MongoDB {about['version']}, database {settings.mongodb_database}"
    if about["replica_set"] is None:
        return [
            Finding(
                "store",
                Verdict.WARNING,
                f"{name}: names no replica set; a standalone server may lose in a crash what it has confirmed",
                "run it as a replica set (one member is enough to start with) and name it: ?replicaSet=NAME",
            )
        ]
    text = f"{name}: primary of replica set {about['replica_set']}, takes journaled majority writes"
    return [Finding("store", Verdict.OK, text)]


async def _check_supplier(settings: Settings) -> list[Finding]:
    status = await probe_supplier(
        settings.required("supplier_url"), timeout=_SUPPLIER_TIMEOUT, tls=settings.supplier_tls
    )
    text = f"reachable: a GET is answered HTTP {status}. No dispatch was tried: 'logistics status' tells how those fare"
    return [Finding("supplier", Verdict.OK, text)]


def _judge_broker(identity: BrokerIdentity) -> Finding:
    name = f"{identity.product} {identity.version} (cluster {identity.cluster})"
    numbers = re.match(r"(\d+)\.(\d+)", identity.version)
    if identity.product != "RabbitMQ" or numbers is None:
        return Finding("broker", Verdict.WARNING, f"{name}: not known here", "RabbitMQ 3.10 or later is what it needs")
    if (int(numbers[1]), int(numbers[2])) < OLDEST_RABBITMQ:
        text = f"{name}: its quorum queues cannot do what is needed"
        return Finding("broker", Verdict.PROBLEM, text, "upgrade to RabbitMQ 3.10 or later")
    return Finding("broker", Verdict.OK, f"{name}: logged in")

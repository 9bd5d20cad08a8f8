"""The console's API against its own OpenAPI document: whatever is sent, it answers as that says.

A few requests for each operation. Many, and each parameter at its edges, by hand:
`LOGISTICS_CONSOLE_EXAMPLES=200 pytest tests/integration/test_console_fuzz.py`.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from infra.console.access.roles import Role
from infra.rabbitmq.topology import Topology
from tests.conftest import Broker, Mongo
from tests.support.console import caller, running_console, write_users
from tests.support.console_office import put_letters
from tests.support.letters import a_letter
from worker.domain.selection import DeadLetterState

EXAMPLES = os.environ.get("LOGISTICS_CONSOLE_EXAMPLES", "")
TIMEOUT = 3600 if EXAMPLES else 90

# What an edit must be to go out (a valid order of the same id), and the bytes of a name in AMQP, are more than a schema
# can say.
CONFIGURATION = """
headers = {{ Authorization = "Bearer {token}" }}
[[operations]]
include-path = "/api/dead-letters/{{letter_id}}/edit"
checks.positive_data_acceptance.enabled = false
[[operations]]
include-path = "/api/replays"
include-method = "POST"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.timeout(TIMEOUT + 30)
async def test_whatever_is_sent_the_api_answers_as_its_document_says(
    broker: Broker, mongo: Mongo, tmp_path: Path
) -> None:
    await Topology().ensure(broker.amqp_url)
    with MongoClient[dict[str, Any]](mongo.uri) as client:
        put_letters(client[mongo.database], *(a_letter(state=state) for state in DeadLetterState for _ in range(10)))
    tokens = write_users(tmp_path / "users")
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(token=tokens[Role.ADMIN]))
    environment = {
        "LOGISTICS_AMQP_URL": broker.amqp_url,
        "LOGISTICS_MONGODB_URI": mongo.uri,
        "LOGISTICS_MONGODB_DATABASE": mongo.database,
        "LOGISTICS_CONSOLE_USERS_FILE": str(tmp_path / "users"),
    }
    with running_console(environment, tmp_path / "log") as console:
        await console.started()
        async with caller(console.url, tokens[Role.ADMIN]) as http:
            started = await http.post("/api/replays", json={"everything": True, "why": "a job to look at"})
            assert started.status_code == 201
        code, said = await fuzz(console.url, tmp_path)
        assert code == 0, said
        assert console.events("console.failed") == []


async def fuzz(url: str, folder: Path) -> tuple[int, str]:
    """Run schemathesis; return its exit code and what it found."""
    how_many = ["--max-examples", EXAMPLES or "3", "--phases", f"examples,fuzzing{',coverage' if EXAMPLES else ''}"]
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "--no-color"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("run", f"{url}/api/openapi.json", "--continue-on-failure", *how_many),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TIMEOUT):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()

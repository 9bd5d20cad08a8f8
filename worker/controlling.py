"""Carrying out, inside a worker, what operators wish of it."""

import asyncio
from typing import Any, Protocol

from worker.domain.control_ports import IWorkerControls
from worker.domain.controls import Control, Wish
from worker.domain.errors import StoreUnavailableError
from worker.domain.log import StructuredLogger

_READ_EVERY = 1.0

_log = StructuredLogger("logistics.controls")


class IIntake(Protocol):
    """What is steered of the intake."""

    def steer_by_hand(self, *, paused: bool, prefetch: int) -> None:
        """Take no orders while paused, else at most so many at once; from now on."""
        ...


class ICircuit(Protocol):
    """What is steered of the circuit breaker."""

    @property
    def held_open(self) -> str | None:
        """Who holds it open by hand and why; None: nobody."""
        ...

    def hold_open(self, why: str) -> None:
        """Refuse every call, with these words and without probing, until `reset`."""
        ...

    def reset(self) -> None:
        """Close it now, whoever or whatever has opened it."""
        ...


class Controlling:
    """Reads the wishes every second and carries them out. While the store is away the last known ones stay in force."""

    def __init__(
        self, *, controls: IWorkerControls, name: str, intake: IIntake, circuit: ICircuit, prefetch: int
    ) -> None:
        """`prefetch`: orders at once, where nothing else is wished."""
        self._controls = controls
        self._name = name
        self._intake = intake
        self._circuit = circuit
        self._prefetch = prefetch
        self._control = Control()
        self._one_at_a_time = asyncio.Lock()
        self._news = asyncio.Event()

    @property
    def is_paused(self) -> bool:
        """Whether taking orders is paused by hand."""
        return self._control.paused is not None

    @property
    def prefetch(self) -> int:
        """Orders at once when nothing else limits it."""
        wish = self._control.prefetch
        return self._prefetch if wish is None or wish.prefetch is None else wish.prefetch

    @property
    def carried_out(self) -> dict[str, Any]:
        """What is carried out, for this worker's report."""
        return {
            "revision": self._control.revision,
            "paused": self.is_paused,
            "prefetch": self.prefetch,
            "circuit_held_open": self._circuit.held_open,
        }

    async def refresh(self) -> None:
        """Read the wishes and carry them out. Raises StoreUnavailableError."""
        async with self._one_at_a_time:  # else an earlier answer could be carried out after a later one
            control = (await self._controls.read()).for_worker(self._name)
            before, self._control = self._control, control
            self._steer_circuit(before)
            self._intake.steer_by_hand(paused=self.is_paused, prefetch=self.prefetch)
            if control != before:
                self._news.set()
            for old, new in zip(before.parts, control.parts, strict=True):
                _tell(old, new)

    async def run(self) -> None:
        """Keep to the wishes until cancelled."""
        while True:
            await asyncio.sleep(_READ_EVERY)
            try:
                await self.refresh()
            except StoreUnavailableError as error:
                _log.debug("control.unknown", error=str(error))

    async def news(self, *, within: float) -> None:
        """Return when other wishes have been carried out, or after so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _steer_circuit(self, before: Control) -> None:
        wish = self._control.open_circuit
        if wish is not None:
            self._circuit.hold_open(f"circuit opened by hand by {wish.by}{f': {wish.why}' if wish.why else ''}")
        elif self._circuit.held_open is not None or self._control.reset > before.reset:
            self._circuit.reset()


def _tell(old: Wish | None, new: Wish | None) -> None:
    """Log what has changed."""
    if new is not None and new != old:
        _log.warning(
            "control.on",
            action=str(new.action),
            prefetch=new.prefetch,
            whom=new.worker or "all",
            by=new.by,
            why=new.why,
        )
    elif old is not None and new is None:
        _log.info("control.off", action=str(old.action))

"""`logistics worker` with a fault in it: certain orders do to their worker what a bug in its code would.

`python -m tests.support.faulty_worker worker` is started in place of `python -m worker worker`. The product has no
hook for this; the fault is put in from outside. An order id says what happens: `kills…` ends the process at once, as a
crash in native code does; `blocks-SECONDS…` stops the event loop for so long, as a loop without an await does.
"""

import os
import signal
import time

from worker.cli import main
from worker.domain.core import LogisticsCore
from worker.domain.delivery import MessageState
from worker.domain.order import Order
from worker.domain.outcome import Outcome

_process_order = LogisticsCore.process_order


async def _process_with_fault(self: LogisticsCore, order: Order, state: MessageState) -> Outcome:
    if order.order_id.startswith("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    if order.order_id.startswith("blocks-"):
        time.sleep(float(order.order_id.split("-")[1]))  # noqa: ASYNC251 - this is the fault
    return await _process_order(self, order, state)


if __name__ == "__main__":
    LogisticsCore.process_order = _process_with_fault  # type: ignore[method-assign]
    main()

"""How deep the fuzz targets go: a few examples in the ordinary suite, as many as asked for under `make fuzz`."""

import os
from collections import Counter

from hypothesis import HealthCheck, settings

EXAMPLES_VARIABLE = "LOGISTICS_FUZZ_EXAMPLES"
"""How many examples each target runs; unset in the ordinary suite."""

_EXAMPLES = int(os.environ.get(EXAMPLES_VARIABLE, "50"))
_ANY_PACE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

examples: Counter[str] = Counter()
"""How often each target ran in this process, by its name."""

deep = settings(max_examples=_EXAMPLES, deadline=None, print_blob=True, suppress_health_check=_ANY_PACE)
"""The settings of every fuzz target."""

deep_steps = settings(deep, max_examples=max(_EXAMPLES // 2, 20), stateful_step_count=40)
"""The same for state machines, whose examples are forty steps each."""

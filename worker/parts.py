"""The parts of a worker, by the names `--consumers` knows them by."""

ORDERS = "orders"
DEAD_LETTERS = "dead-letters"
DELIVERED = "delivered"
REPLAYS = "replays"
"""Not a queue's consumer: the hand on the replay jobs."""
CONSUMERS = (ORDERS, DEAD_LETTERS, DELIVERED, REPLAYS)

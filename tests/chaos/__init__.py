"""Chaos: orders flow while servers die and networks break; afterwards an accountant looks for every single order."""

"""Property tests without a time limit for one example: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("logistics", deadline=None)
settings.load_profile("logistics")

"""Looking inside the engine: where its time goes."""

from .profiler import OpTime, Profile, profile

__all__ = ["OpTime", "Profile", "profile"]

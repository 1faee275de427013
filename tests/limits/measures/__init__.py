"""The measurements, one file a group; importing them fills `lab.MEASURES`."""

from tests.limits.measures import bounds, control, costs, failures, pace, providers

__all__ = ["bounds", "control", "costs", "failures", "pace", "providers"]

"""Compare the latency of two exports."""

from aerodet.components.benchmark.component import benchmark

__all__ = ["benchmark"]

"""The worker: claims jobs, runs their handlers, writes what became of them.

One small file a duty; `worker` puts them together.
"""

from jobq._worker.worker import Worker

__all__ = ["Worker"]

"""The two faces of a queue: the same verbs, synchronous and asynchronous."""

from jobq._queue.aio import AsyncQueue
from jobq._queue.options import EnqueueOptions
from jobq._queue.sync import Queue

__all__ = ["AsyncQueue", "EnqueueOptions", "Queue"]

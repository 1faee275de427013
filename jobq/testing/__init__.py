"""Help for tests of code that uses jobq.

The pytest plugin comes with the package: `jobq_queue` is a queue on a temporary SQLite file whose
time stands still, `jobq_clock` the clock that moves it.

>>> def test_a_report_is_sent_an_hour_later(jobq_queue, jobq_clock):
...     request_report("ada", queue=jobq_queue)
...     assert_enqueued(jobq_queue, "send_report", {"user": "ada"}, delay=3600)
...     jobq_clock.advance(3600)
...     assert drain(jobq_queue) == 1
"""

from jobq.testing._assertions import assert_enqueued, assert_not_enqueued
from jobq.testing._clock import FrozenClock
from jobq.testing._drain import adrain, drain
from jobq.testing._perform import aperform, perform

__all__ = [
    "FrozenClock",
    "adrain",
    "aperform",
    "assert_enqueued",
    "assert_not_enqueued",
    "drain",
    "perform",
]

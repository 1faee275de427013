"""jobq in a Django project.

Put `"jobq.contrib.django"` into INSTALLED_APPS and run `manage.py migrate`. Jobs then live in
`DATABASES["default"]`; handlers are found in each app's `jobs` module.

>>> from jobq.contrib.django import queue
>>> with transaction.atomic():
...     order = Order.objects.create(total=12)
...     queue.enqueue("send_receipt", {"order": order.pk})  # commits or vanishes with the order
"""

from __future__ import annotations

from jobq.contrib.django._queue import DjangoQueue

queue = DjangoQueue()
"""The project's queue, in the database that `JOBQ["DATABASE"]` names, or else "default"."""

__all__ = ["DjangoQueue", "queue"]

"""Signed messages over HTTP, as Standard Webhooks says: to sign them, and to verify what came.

>>> from jobq import webhooks
>>> received = webhooks.verify(request.headers, request.body, secret)  # doctest: +SKIP
"""

from jobq.webhooks._endpoint import Webhook, WebhookInfo
from jobq.webhooks._signing import Received, new_secret, sign, verify

__all__ = ["Received", "Webhook", "WebhookInfo", "new_secret", "sign", "verify"]

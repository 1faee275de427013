"""The dashboard: pages about jobs, queues, limits and workers, for people who run them.

Knows no framework: adapters mount it as they mount the routes of `jobq.http`. Needs
`jobq[dashboard]`.
"""

from jobq.http.dashboard.access import ACTIONS, Operator, Operators, Passwords
from jobq.http.dashboard.api import Dashboard, DashboardOptions
from jobq.http.dashboard.server import serve

__all__ = [
    "ACTIONS",
    "Dashboard",
    "DashboardOptions",
    "Operator",
    "Operators",
    "Passwords",
    "serve",
]

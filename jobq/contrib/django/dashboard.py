"""The dashboard of the project's queue, for the staff.

>>> urlpatterns = [path("jobq/", include("jobq.contrib.django.dashboard"))]
"""

from __future__ import annotations

from jobq.contrib.django.http import dashboard_urls

urlpatterns = dashboard_urls("")

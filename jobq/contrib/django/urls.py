"""The routes of the project's queue, with the options of the setting `JOBQ`.

>>> urlpatterns = [path("jobs/", include("jobq.contrib.django.urls"))]
"""

from __future__ import annotations

from jobq.contrib.django import _settings
from jobq.contrib.django.http import jobs_urls

urlpatterns = jobs_urls("", **_settings.http_options())

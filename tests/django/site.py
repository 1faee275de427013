"""The settings of a project in a process of its own; its database comes with the environment."""

from __future__ import annotations

import json
import os

from tests.django.settings import *  # noqa: F403

DEBUG = os.environ.get("SITE_DEBUG") == "1"
DATABASES = {"default": json.loads(os.environ["SITE_DATABASE"])}

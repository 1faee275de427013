"""`python -m examples.leora_scan.manage migrate`, and Django's and jobq's other commands."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.leora_scan.settings")
    execute_from_command_line(sys.argv)

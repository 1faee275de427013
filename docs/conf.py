"""Sphinx's configuration; build with `nox -s docs`."""

import sys
from pathlib import Path

import jobq

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "jobq"
author = "jobq contributors"
project_copyright = author
release = version = jobq.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "from_code"]
exclude_patterns = ["_ext"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signatures of verbs say it in words, in their descriptions
default_role = "code"  # docstrings are written with single backticks

html_theme = "furo"
html_title = f"jobq {release}"
html_copy_source = False
html_show_sourcelink = False

if not (Path(__file__).parent / "_pictures").is_dir():
    # The session `docs` takes them with a browser; a quick look at the words needs none.
    suppress_warnings = ["image.not_readable"]

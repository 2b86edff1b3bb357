"""Settings of the documentation: built by `make docs`, offline, without warnings."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import generate  # noqa: E402  (it lies beside this file)

project = "ml_platform"
author = "ml_platform"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["tutorial/*"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "ml_platform"
html_show_copyright = False
html_extra_path = ["../ml_platform/use_cases/use_case.schema.json"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def setup(app):
    """Write the generated pages before the sources are read."""
    generate.write(HERE / "reference" / "generated")

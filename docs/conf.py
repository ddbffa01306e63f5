"""Sphinx configuration."""

from importlib.metadata import version as version_of

project = "scgenot"
author = "The scgenot developers"
project_copyright = "The scgenot developers"
release = version = version_of("scgenot")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# api.md names modules; every function and class in a module's __all__ then gets a row and a page of
# its own
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = False
autodoc_member_order = "bysource"
autodoc_typehints = (
    "description"  # types stand in the signature only, the pages show them beside each parameter
)
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = True

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests execute the notebooks

html_theme = "sphinx_book_theme"
html_title = "scgenot"
html_static_path = ["_static"]

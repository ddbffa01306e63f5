"""Sphinx configuration."""

from importlib.metadata import version as version_of

REPOSITORY = "https://github.com/scgenot/scgenot"

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
    "sphinxcontrib.bibtex",
]
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

autosummary_generate = True  # a page for each row of api.md
autodoc_member_order = "bysource"
autodoc_typehints = (
    "description"  # types stand in the signature only, the pages show them beside each parameter
)
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = False
# what is returned is described in prose: as a custom section its text stays text, where napoleon
# would read the first line of each paragraph as a type
napoleon_custom_sections = [*("Returns", "Yields", "Warns")]
default_role = "code"  # `name` in a docstring is code

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests execute the notebooks

html_theme = "sphinx_book_theme"
html_title = "scgenot"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "repository_url": REPOSITORY,
    "use_repository_button": True,
    "navbar_persistent": [],  # the theme's own search box there is a second one
}
linkcheck_ignore = [REPOSITORY]

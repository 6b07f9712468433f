"""The registry: vendors, models, routes, tariffs and offerings of a cell, and their versions.

It reads layered folders of YAML files, checks them as a whole and serves them whole: every caller sees one valid
catalog or the one before it, never a mixture, and an invalid change alters nothing. Its revision counts the valid
changes since the process started. It knows no account: orders and subscriptions belong to accounting.

Called by the edge and by accounting, which watch it; the command line checks a catalog with `load_catalog`.
It calls nobody.
"""

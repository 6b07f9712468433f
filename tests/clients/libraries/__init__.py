"""Each module is a script of one library, run by the Python, or the Node, that has the library."""

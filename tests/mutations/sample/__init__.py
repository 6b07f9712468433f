"""A seeded sample of faults that a tool makes of the modules of money, and the tests that must notice them.

`tests/mutations` plants faults that somebody thought of, each with its tests. These are made by mutmut's operators from each
expression there is; coverage says which tests can notice one.
"""

"""Durable state: the journal, checkpoints, the fence against a second owner; and the audit, which adds it all up.

The journal knows entries and accounts as values, and no rule.
"""

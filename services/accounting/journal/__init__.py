"""What is durable: the journal, checkpoints, the fence against a second owner; and the audit, which adds it all up.

It knows entries and accounts as values, and no rule.
"""

"""Authentication: members and API keys of an account ID, and their revocation.

Only a keyed hash of a key is stored. A key that was revoked stays revoked. "Not known" and "cannot say" are different answers.
Balances, caps and limits are accounting's. Called by edge; calls nobody.
"""

"""Authentication: members and API keys of an account ID, their revocation, and the suspension of an account.

Only a keyed hash of a key is stored. A key that was revoked stays revoked; an account that was suspended can be resumed. "Not
known" and "cannot say" are different answers.
Balances, caps and limits are accounting's. Called by edge; calls nobody.
"""

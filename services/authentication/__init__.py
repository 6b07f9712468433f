"""Authentication: members and API keys of an account ID, their revocation, and the suspension of an account.

It knows the operator's own ID of an account, invitations, whose code makes one member, and which account may buy what is sold
once to an identity. Only a keyed hash of a key, a code or an identity is stored. A key that was revoked stays revoked; an account
that was suspended can be resumed. "Not known" and "cannot say" are different answers.
Balances, caps and limits are accounting's. Called by edge; calls nobody.
"""

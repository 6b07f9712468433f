"""Tests of the call path over a scripted vendor, in virtual time: no socket, no sleeping."""

"""Tests of connections and answers, in virtual time."""

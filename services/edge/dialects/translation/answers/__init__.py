"""Answers: a reader of each dialect's answers, and a writer, which tells a client one."""

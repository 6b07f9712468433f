"""Routes by resource: what each takes and answers in HTTP. Model calls go on to the call path; the rest ask other services."""

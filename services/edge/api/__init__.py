"""Routes by resource, with their requests and answers in HTTP. Model calls go on to the call path; the rest ask other services."""

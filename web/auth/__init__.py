"""Authentication (tokens, JWTs, signed URLs) and authorization (the access table in :mod:`web.auth.policy`)."""

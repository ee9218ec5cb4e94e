"""Access: who asks (a token, a JWT, a signed URL), and whether they may (the table in :mod:`web.auth.policy`)."""

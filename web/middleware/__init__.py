"""What a request passes before its handler. :mod:`web.middleware.admission` has the rules in their order.

:mod:`~web.middleware.listener`, :mod:`~web.middleware.connection` and :mod:`~web.middleware.connection_limiter` are for
TCP connections, :mod:`~web.middleware.security_headers` and :mod:`~web.middleware.cors` for the headers of answers.
"""

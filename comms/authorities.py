"""Whom we believe who it is that answers us: the certificate authorities, read once for all that a process asks."""

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """For every connection to a provider or to whomever else: to read them takes 40 ms, in which nobody is served.

    They are those of ``certifi``, or of SSL_CERT_FILE or SSL_CERT_DIR where the environment names them.
    """
    return httpx.create_ssl_context()

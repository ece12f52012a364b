"""``push-job explain``: what is wrong with Celery now, in plain words.

The data goes from ``facts`` (one snapshot) and ``asking`` (what is asked when it is called for) to ``findings`` (the
rules), by ``diagnosis``, and from there to ``printing``.
"""

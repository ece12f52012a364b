"""``push-job explain``: report problems of Celery in plain English.

``gather`` reads a Flower into ``facts``. ``rules`` derive ``findings`` from the facts. ``report`` prints the findings.
``diagnosis`` runs these steps for each Flower. To add a rule, add a module to ``rules`` and its name to ``_ORDER``.
"""

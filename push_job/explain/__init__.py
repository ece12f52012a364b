"""``push-job explain``: say what is wrong with Celery, in plain English.

``gather`` reads a Flower into ``facts``, ``rules`` turn the facts into ``findings``, ``report`` prints those.
``diagnosis`` runs that for each Flower. To add a rule, add a file to ``rules`` and a line to its registry.
"""

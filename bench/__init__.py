"""`make bench`: what a push costs, its own process and its Flower, on real Flowers with up to 100,000 tasks.

Three ways to the same data take turns: `push-job push`, the simple exporter of simple_exporter.py (one request, `json`,
a labelled gauge incremented a task), and a bare download. All numbers of one run are medians of such rounds, so what
else the machine does falls on all of them alike: read the ratios, not the seconds.
"""

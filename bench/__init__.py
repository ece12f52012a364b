"""`make bench`: measure the cost of a push for its process and for Flower.

Each round runs three commands for the same data: `push-job push`, the simple exporter of simple_exporter.py (one
request, `json`, one increment of a gauge per task), and a bare download. All numbers are medians of the rounds. Other
load on the machine affects all commands, so compare ratios, not seconds.
"""

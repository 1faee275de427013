"""The same faults played on jobq and on other Python job queues.

Each system runs in an environment of its own, installed by name; nothing of them is kept here.
"""

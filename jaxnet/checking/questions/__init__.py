"""One file for each thing that is asked: what is asked, what is allowed and why, how it is said.

Each has a function `ask` of what it needs, which returns what was found; none reads what another
has left behind. Which is asked when stands in examination.py.
"""

"""Behind benchmark.py: the report's job against the clock, the rules, and other checkers."""

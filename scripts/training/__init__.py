"""Of train.py: its options, the job, its results in place together, predictions."""

"""The report's job: its networks, its settings, and the data that stand for its own.

Train a network with one hidden layer, then one with two, by plain SGD on batches in the order of
the file. Whoever trains as the report did takes the numbers from here.
"""

from pathlib import Path

WIDTH, EPOCHS, RATE, BATCH_SIZE = 100, 200, 0.01, 64
DEPTHS = (1, 2)  # hidden layers
NETWORKS = tuple((WIDTH,) * depth for depth in DEPTHS)

FILES = ("XTrain.txt", "yTrain.txt", "XTest.txt", "yTest.txt")
DATA = Path(__file__).resolve().parents[2] / "data"
TWIN = DATA / "course_twin"

"""Data sets: read, split, scale, batch. NumPy only.

Data enters here, so here it is checked: a table is read whole and right, or an error says where it
is wrong and how to mend it.
"""

from jaxnet.datasets._column import Column as Column
from jaxnet.datasets._dataset import Dataset as Dataset
from jaxnet.datasets._dataset import Scaling as Scaling
from jaxnet.datasets._dataset import batches as batches
from jaxnet.datasets._dataset import hold_out as hold_out
from jaxnet.datasets._dataset import standardize as standardize
from jaxnet.datasets._load import from_table as from_table
from jaxnet.datasets._load import load as load
from jaxnet.datasets._look import look as look
from jaxnet.datasets._new_rows import read_features as read_features
from jaxnet.datasets._new_rows import read_texts as read_texts

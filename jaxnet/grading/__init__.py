"""The judge of the course's exercises: is a student's backward pass right, and if not, why?

    python -m jaxnet grade FILE

The core never imports it.
"""

from jaxnet.grading.grades import Grade as Grade
from jaxnet.grading.grades import grade as grade

"""Behind report.py: what is trained, what is measured of it, how it is drawn and told.

sources      the data, and PyTorch's curves on them
runs         what is trained, from which start; faults: wrong rules that are trained too
gradients    how far a gradient is from exact
claims       what the report claims, as things that can be measured
results      everything that metrics.json holds
figures      the curves; networks: the two networks
page         index.html, from page.html, style.css and the equations; formulas: TeX as MathML
"""

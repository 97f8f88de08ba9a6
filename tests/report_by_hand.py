"""The report's section 2 in NumPy, with its errata corrected.

Vectors are columns, and the formulas are for one example at a time. Independent of the library on
purpose: nothing here is imported from it. X holds examples as columns, [D, N].
"""

import numpy as np


class ByHand:
    def __init__(self, params):
        self.W = [np.array(weight, np.float64) for weight, _ in params]
        self.b = [np.array(bias, np.float64)[:, None] for _, bias in params]

    def forward(self, X):
        hs, ls = [X], []  # h^(0) = x;  l^(i) = W^(i) h^(i-1) + b^(i);  h^(i) = ReLU(l^(i))
        for W, b in zip(self.W, self.b, strict=True):
            ls.append(W @ hs[-1] + b)
            hs.append(np.maximum(0, ls[-1]))
        return hs, ls

    def probabilities(self, logits):
        e = np.exp(logits - logits.max(axis=0))  # p_i = exp(x̃_i) / Σ_k exp(x̃_k)
        return e / e.sum(axis=0)

    def loss(self, x, y):
        logits = self.forward(x.T)[1][-1]
        shifted = logits - logits.max(axis=0)
        return np.mean(np.log(np.exp(shifted).sum(axis=0)) - shifted[y, np.arange(len(y))])

    def gradients(self, x, y):
        hs, ls = self.forward(x.T)
        dl = self.probabilities(ls[-1])  # dL/dx̃_j = p_j - y_j, for the mean over N examples
        dl[y, np.arange(len(y))] -= 1
        dl /= len(y)
        found = []
        for i in reversed(range(len(self.W))):
            found.append((dl @ hs[i].T, dl.sum(axis=1)))  # dL/dW_ij = dl_i h_j;  dL/db_j = dl_j
            if i > 0:
                # dL/dl_j = a_j Σ_i dl_i W_ij, with a = 0 at l = 0.
                dl = (self.W[i].T @ dl) * (ls[i - 1] > 0)
        return found[::-1]

    def step(self, x, y, rate):
        for i, (dW, db) in enumerate(self.gradients(x, y)):
            self.W[i] -= rate * dW
            self.b[i] -= rate * db[:, None]

"""Hand-derived gradients that can be trusted.

jax.grad(loss)                # by hand: the rules of this library
jax.grad(jaxnet.auto(loss))   # automatic: the same graph without them
"""

from jaxnet import datasets as datasets
from jaxnet._rule import auto as auto
from jaxnet._rule import rule as rule
from jaxnet.checking import Audit as Audit
from jaxnet.checking import Finding as Finding
from jaxnet.checking import Report as Report
from jaxnet.checking import audit as audit
from jaxnet.checking import check as check
from jaxnet.models import Layer as Layer
from jaxnet.models import NormLayer as NormLayer
from jaxnet.models import course_init as course_init
from jaxnet.models import init_mlp as init_mlp
from jaxnet.models import mlp as mlp
from jaxnet.models import pytorch_init as pytorch_init
from jaxnet.rules.activations import gelu as gelu
from jaxnet.rules.activations import relu as relu
from jaxnet.rules.activations import sigmoid as sigmoid
from jaxnet.rules.activations import silu as silu
from jaxnet.rules.activations import softplus as softplus
from jaxnet.rules.activations import swiglu as swiglu
from jaxnet.rules.activations import tanh as tanh
from jaxnet.rules.affine import linear as linear
from jaxnet.rules.distributions import log_softmax as log_softmax
from jaxnet.rules.distributions import softmax as softmax
from jaxnet.rules.fused import linear_softmax_cross_entropy as linear_softmax_cross_entropy
from jaxnet.rules.losses import accuracy as accuracy
from jaxnet.rules.losses import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from jaxnet.rules.losses import softmax_cross_entropy as softmax_cross_entropy
from jaxnet.rules.normalization import layer_norm as layer_norm
from jaxnet.rules.normalization import rms_norm as rms_norm
from jaxnet.rules.regression import huber as huber
from jaxnet.rules.regression import mean_squared_error as mean_squared_error
from jaxnet.rules.safe import normalize as normalize
from jaxnet.rules.safe import safe_norm as safe_norm
from jaxnet.rules.safe import safe_sqrt as safe_sqrt
from jaxnet.rules.stochastic import dropout as dropout
from jaxnet.rules.tables import embedding as embedding
from jaxnet.training import History as History
from jaxnet.training import NonFiniteLoss as NonFiniteLoss
from jaxnet.training import evaluate as evaluate
from jaxnet.training import fit as fit
from jaxnet.training import update_step as update_step

__version__ = "0.1.0"

"""Functions with a backward pass derived by hand, a file for each family."""

from jaxnet.rules._activations import gelu as gelu
from jaxnet.rules._activations import relu as relu
from jaxnet.rules._activations import sigmoid as sigmoid
from jaxnet.rules._activations import silu as silu
from jaxnet.rules._activations import softplus as softplus
from jaxnet.rules._activations import swiglu as swiglu
from jaxnet.rules._activations import tanh as tanh
from jaxnet.rules._attention import attention as attention
from jaxnet.rules._conv_transpose import conv_transpose as conv_transpose
from jaxnet.rules._cross_entropy import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from jaxnet.rules._cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from jaxnet.rules._dropout import dropout as dropout
from jaxnet.rules._embedding import embedding as embedding
from jaxnet.rules._fused_cross_entropy import (
    linear_softmax_cross_entropy as linear_softmax_cross_entropy,
)
from jaxnet.rules._layer_norm import layer_norm as layer_norm
from jaxnet.rules._layer_norm import rms_norm as rms_norm
from jaxnet.rules._linear import linear as linear
from jaxnet.rules._regression import huber as huber
from jaxnet.rules._regression import mean_squared_error as mean_squared_error
from jaxnet.rules._safe_norm import normalize as normalize
from jaxnet.rules._safe_norm import safe_norm as safe_norm
from jaxnet.rules._safe_norm import safe_sqrt as safe_sqrt
from jaxnet.rules._softmax import log_softmax as log_softmax
from jaxnet.rules._softmax import softmax as softmax

"""What the library knows of JAX's graphs, and of how a custom rule is written into one.

A traced function is a jaxpr: equations, each a primitive with inputs, outputs and parameters, some
of which are jaxprs in turn. A custom rule is one equation; its parameters hold the body that the
rule stands for, and the rule.

A room for each thing, which imports from those above it alone:

    jaxprs       inputs_of, plain: a jaxpr and its equations as they lie there
    objects      python_object: rules that are Python objects (hijax)
    forms        kind_of_rule, unknown_form: which equation is a rule, and is its form known?
                 When JAX's next form comes, this file changes, or objects.py.
    walk         equations, inner_jaxprs: into the jaxprs inside
    reach        flow: what a derivative reaches, and from where
    rewrite      rewritten: with other equations in the place of some; without_rules is made with
                 it, and tap: equations tell the host what they meet; alone: one as a function
    calls        call_of_function: a call of a function as a jaxpr, and another run in its place
    transpose    transposable: what stands in the way of a transpose, taken away
    contents     identity, constants: to tell one jaxpr from another
"""

from jaxnet._graph.calls import call_of_function as call_of_function
from jaxnet._graph.contents import compared_integers as compared_integers
from jaxnet._graph.contents import identity as identity
from jaxnet._graph.contents import named_numbers as named_numbers
from jaxnet._graph.contents import numpy_constants as numpy_constants
from jaxnet._graph.contents import numpy_numbers as numpy_numbers
from jaxnet._graph.contents import with_own_constants as with_own_constants
from jaxnet._graph.forms import body_of_rule as body_of_rule
from jaxnet._graph.forms import closed_over as closed_over
from jaxnet._graph.forms import derivative_depth as derivative_depth
from jaxnet._graph.forms import has_rule_for_batching as has_rule_for_batching
from jaxnet._graph.forms import hides_rules as hides_rules
from jaxnet._graph.forms import is_attached_by as is_attached_by
from jaxnet._graph.forms import is_call as is_call
from jaxnet._graph.forms import kind_of_rule as kind_of_rule
from jaxnet._graph.forms import left_on as left_on
from jaxnet._graph.forms import name_of_equation as name_of_equation
from jaxnet._graph.forms import name_of_python_object as name_of_python_object
from jaxnet._graph.forms import name_of_rule as name_of_rule
from jaxnet._graph.forms import names_of_arguments as names_of_arguments
from jaxnet._graph.forms import sees_what_is_differentiated as sees_what_is_differentiated
from jaxnet._graph.forms import unknown_form as unknown_form
from jaxnet._graph.jaxprs import Chain as Chain
from jaxnet._graph.jaxprs import file_of_function as file_of_function
from jaxnet._graph.jaxprs import inputs_of as inputs_of
from jaxnet._graph.jaxprs import is_literal as is_literal
from jaxnet._graph.jaxprs import name_of_function as name_of_function
from jaxnet._graph.jaxprs import outputs_of as outputs_of
from jaxnet._graph.jaxprs import place_of_function as place_of_function
from jaxnet._graph.jaxprs import plain as plain
from jaxnet._graph.jaxprs import shapes_of as shapes_of
from jaxnet._graph.objects import EVERY as EVERY
from jaxnet._graph.objects import HIPRIM as HIPRIM
from jaxnet._graph.objects import JVP as JVP
from jaxnet._graph.objects import REVERSE as REVERSE
from jaxnet._graph.objects import VJP as VJP
from jaxnet._graph.objects import dce_of as dce_of
from jaxnet._graph.objects import defines as defines
from jaxnet._graph.objects import has_forward_mode as has_forward_mode
from jaxnet._graph.objects import python_object as python_object
from jaxnet._graph.objects import remat_of as remat_of
from jaxnet._graph.reach import carry_of_scan as carry_of_scan
from jaxnet._graph.reach import computes_nothing as computes_nothing
from jaxnet._graph.reach import equations_for as equations_for
from jaxnet._graph.reach import flow as flow
from jaxnet._graph.reach import has_references as has_references
from jaxnet._graph.reach import is_differentiable as is_differentiable
from jaxnet._graph.reach import outputs_reached as outputs_reached
from jaxnet._graph.rewrite import Wiretap as Wiretap
from jaxnet._graph.rewrite import alone as alone
from jaxnet._graph.rewrite import as_function as as_function
from jaxnet._graph.rewrite import call_of as call_of
from jaxnet._graph.rewrite import calls_rules_when_differentiated as calls_rules_when_differentiated
from jaxnet._graph.rewrite import every_input as every_input
from jaxnet._graph.rewrite import fitted as fitted
from jaxnet._graph.rewrite import instead_of_object as instead_of_object
from jaxnet._graph.rewrite import is_array_of_jax as is_array_of_jax
from jaxnet._graph.rewrite import rewritten as rewritten
from jaxnet._graph.rewrite import tap as tap
from jaxnet._graph.rewrite import with_tangents as with_tangents
from jaxnet._graph.rewrite import without_rules as without_rules
from jaxnet._graph.transpose import ignores as ignores
from jaxnet._graph.transpose import outputs_that_depend as outputs_that_depend
from jaxnet._graph.transpose import transposable as transposable
from jaxnet._graph.walk import equations as equations
from jaxnet._graph.walk import first_inner_jaxpr as first_inner_jaxpr
from jaxnet._graph.walk import inner_jaxprs as inner_jaxprs
from jaxnet._graph.walk import is_one_rule as is_one_rule
from jaxnet._graph.walk import is_reverse_only as is_reverse_only
from jaxnet._graph.walk import kinds_differentiated as kinds_differentiated

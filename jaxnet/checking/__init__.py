"""Is a backward rule right?

`check` examines one function, `audit` every custom rule inside any function.
"""

from jaxnet.checking._audit import Audit as Audit
from jaxnet.checking._audit import audit as audit
from jaxnet.checking._check import check as check
from jaxnet.checking.findings import Finding as Finding
from jaxnet.checking.findings import Question as Question
from jaxnet.checking.findings import Report as Report
from jaxnet.checking.findings import Verdict as Verdict

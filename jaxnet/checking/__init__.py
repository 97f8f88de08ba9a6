"""Is a backward rule right?

`check` examines one function, `check_sizes` at many sizes, `audit` every custom rule inside any.
"""

from jaxnet.checking._audit import Audit as Audit
from jaxnet.checking._audit import audit as audit
from jaxnet.checking._check import check as check
from jaxnet.checking._check_sizes import ReportOfSizes as ReportOfSizes
from jaxnet.checking._check_sizes import check_sizes as check_sizes
from jaxnet.checking.findings import Finding as Finding
from jaxnet.checking.findings import Question as Question
from jaxnet.checking.findings import Verdict as Verdict
from jaxnet.checking.reports import Report as Report

"""Is a backward rule right? `check` examines one function, `audit` every custom rule inside any function."""

from jaxnet.checking.checker import check as check
from jaxnet.checking.findings import Finding as Finding
from jaxnet.checking.findings import Report as Report
from jaxnet.checking.sites import Audit as Audit
from jaxnet.checking.sites import audit as audit

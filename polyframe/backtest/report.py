"""The values of reports, under the name that they had before ledgers had reports, too."""

from polyframe.report.values import CycleReport as CycleReport
from polyframe.report.values import Figures as Figures
from polyframe.report.values import Report as Report

"""Reports: what is known of some runs, in one HTML file or in a notebook.

from foreshock.dashboards.report import report

report("hc-seed-0").figure("loss")
"""

from foreshock.dashboards.report.collector_source import CollectorSource, report
from foreshock.dashboards.report.document import write_html
from foreshock.dashboards.report.gathering import MAX_RUNS, Source, gather
from foreshock.dashboards.report.report import Report, RunReport

__all__ = ["MAX_RUNS", "CollectorSource", "Report", "RunReport", "Source", "gather", "report", "write_html"]

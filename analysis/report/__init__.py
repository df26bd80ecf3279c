"""One HTML page of runs, drawn by plotly.js. It computes nothing: it asks what the commands ask, and shows it."""

from analysis.report.write import write_report as write_report

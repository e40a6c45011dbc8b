"""The memory of the page: task records, totals of minutes and hours, and who changed what, in a SQL database.

``collector`` follows what processes report and merges it; ``history`` answers questions; ``live`` is what is now.
"""

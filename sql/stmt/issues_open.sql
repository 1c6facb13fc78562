-- Open issues by class and severity, for the metrics.
select class, severity, count(*) from atsync.issue where closed_at is null group by class, severity

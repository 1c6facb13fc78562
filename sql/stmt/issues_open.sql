-- Open issues by class, for the metric.
select class, count(*) from atsync.issue where closed_at is null group by class

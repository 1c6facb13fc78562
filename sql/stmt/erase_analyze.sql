-- What the planner has noted of columns are values of some rows: of those that are left, from now on.
analyze atsync.event, atsync.candidate, atsync.identity, atsync.run, atsync.ats_write, atsync.ats_call, atsync.contact_resolution, atsync.issue

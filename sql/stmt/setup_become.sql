-- From now on this session works as the role $1, so that what it makes belongs to that one.
select set_config('role', $1, false)

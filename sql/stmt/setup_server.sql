-- What there is of the role $1, the reader $2 and the database $3, in this order, and the command for what is missing. $4: what the role's password is stored as; null: none.
select s.thing, s.name, s.is_there, s.detail, s.command
from (
    select 1 as step, 'role' as thing, $1::text as name, r.rolname is not null as is_there, case when r.rolsuper then 'a superuser' when r.rolcanlogin then 'may log in' end as detail,
           case when r.rolname is null then format('create role %I login', $1) || coalesce(format(' password %L', $4::text), '')
                when not r.rolcanlogin then format('alter role %I login', $1) end as command
    from (select 1) one
    left join pg_roles r on r.rolname = $1
    union all
    -- who is no superuser can make something for a role only as its member
    select 2, 'membership', $1, null, null,
           case when r.oid is not null and not me.rolsuper and not pg_has_role(current_user, r.oid, 'member') then format('grant %I to %I', $1, current_user) end
    from pg_roles me
    left join pg_roles r on r.rolname = $1
    where me.rolname = current_user
    union all
    select 3, 'role', $2::text, r.rolname is not null, null, case when r.rolname is null then format('create role %I nologin', $2) end
    from (select 1) one
    left join pg_roles r on r.rolname = $2
    union all
    -- keys sorted by bytes need no index made anew when the system's locales change
    select 4, 'database', $3::text, d.datname is not null, 'owner ' || pg_get_userbyid(d.datdba) || ', ' || pg_encoding_to_char(d.encoding),
           case when d.datname is null then format('create database %I owner %I encoding ''UTF8'' lc_collate ''C'' lc_ctype ''C'' template template0', $3, $1) end
    from (select 1) one
    left join pg_database d on d.datname = $3
) s
order by s.step

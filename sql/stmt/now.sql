-- The clock that decides.
select now()

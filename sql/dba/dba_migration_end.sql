-- After each migration.
commit;
\endif

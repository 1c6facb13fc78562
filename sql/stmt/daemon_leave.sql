-- A daemon that ends cleanly leaves its share of the rate to the others at once.
delete from atsync.daemon where owner = $1

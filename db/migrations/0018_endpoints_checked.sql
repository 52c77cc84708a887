-- What 0016 demanded of new endpoints holds for all. In a transaction of its own, because what 0016 locked stays locked to
-- its end; this one reads the table while others write to it.
alter table carillon.endpoints validate constraint endpoints_destination_check;
alter table carillon.endpoints validate constraint endpoints_destination_fkey;

-- That a rule is stored in its canonical form is asked when a rule is written. As a check it was asked again whenever the
-- planner moved a schedule on, which took longer than planning it. (Asked in the trigger's WHEN, not in its function: there
-- the canonical form would be planned anew for each row. And asked after the row is written: with any BEFORE UPDATE trigger
-- on a table, Postgres takes each generated column for changed, rule_hash among them, which is part of a key; so each
-- update of a schedule would lock its row against the foreign keys of its buckets, and a pause and a cancel deadlock.)
alter table carillon.schedules drop constraint schedules_rule_check;

create function carillon.refuse_rule() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'check_violation', schema = 'carillon', table = 'schedules',
    constraint = 'schedules_rule_check',
    message = 'new row for relation "schedules" violates schedules_rule_check: the rule is not in its canonical form',
    detail = new.rule::text, hint = 'Store carillon.canonical_rule(rule).';
end
$$;
revoke execute on function carillon.refuse_rule() from public;
create trigger rule_is_canonical after insert or update of rule on carillon.schedules
  for each row when (new.rule is distinct from carillon.canonical_rule(new.rule))
  execute function carillon.refuse_rule();

-- What a topic says, beyond title, body and data: a picture, a sound, where a tap leads, and all of it in other
-- languages. Texts are templates (docs/messages.md).
alter table carillon.topics
  add column image text,
  add column sound text,
  add column link text,
  add column locale text not null default 'en',
  add column variants jsonb check (jsonb_typeof(variants) = 'object'),
  add column priority text not null default 'high' check (priority in ('high', 'normal'));
comment on column carillon.topics.locale is 'The language tag (BCP 47) of the topic''s own texts.';
comment on column carillon.topics.variants is
  'By language tag, what is said otherwise there: {"de": {"title": ..., "body": ...}}. What is left out stays as it is.';
comment on column carillon.topics.priority is
  'high: shown at once, on a phone that sleeps, too. normal: whenever that costs the phone little.';

-- Texts that are stored already go on saying what they say.
update carillon.topics
set title = case when title ~ '\{[{%]' then '{% raw %}' || title || '{% endraw %}' else title end,
    body = case when body ~ '\{[{%]' then '{% raw %}' || body || '{% endraw %}' else body end
where title ~ '\{[{%]' or body ~ '\{[{%]';

-- Workers keep a message by its topic's version, so it rises whoever changes the texts.
create function carillon.topic_version_rises() returns trigger
language plpgsql
as $$
begin
  if new.version = old.version
    and (new.name, new.title, new.body, new.data, new.image, new.sound, new.link, new.locale, new.variants)
      is distinct from (old.name, old.title, old.body, old.data, old.image, old.sound, old.link, old.locale, old.variants)
  then
    new.version := old.version + 1;
  end if;
  return new;
end
$$;
revoke execute on function carillon.topic_version_rises() from public;
create trigger topic_version_rises before update on carillon.topics
  for each row execute function carillon.topic_version_rises();

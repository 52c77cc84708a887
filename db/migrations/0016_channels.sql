-- Where reminders of a channel go through: no longer webhook receivers alone. What identifies it and isn't secret stands in
-- `settings`; its private key is sealed where webhooks keep their secrets.
alter table carillon.destinations
  add column channel text not null default 'webhook' check (channel in ('webhook', 'fcm', 'apns', 'web-push')),
  add column settings jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
  add constraint destinations_batch_size_check1 check (batch_size = 1 or channel = 'webhook'),
  -- a push service knows one key at a time: a new one replaces the old
  add constraint destinations_sealed_secrets_check1 check (cardinality(sealed_secrets) = 1 or channel = 'webhook'),
  -- so that an endpoint can refer to a destination of its own channel only
  add unique (destination_id, channel);
comment on column carillon.destinations.url is 'the receiver''s, or the base of the provider''s API; empty for web-push, where each endpoint has its own';
comment on column carillon.destinations.settings is 'fcm: projectId, clientEmail, tokenUrl; apns: teamId, keyId, bundleId; web-push: subject, publicKey';
comment on column carillon.destinations.sealed_secrets is 'webhook: its secrets, newest first; else one private key';

-- Every channel has destinations but memory. Not valid: the table may be large, and while its rows are read here nobody
-- could register or be sent to; 0018 reads them under a lock that holds up nobody. New rows are checked from now on.
alter table carillon.endpoints
  drop constraint endpoints_check,
  drop constraint endpoints_destination_id_fkey,
  add constraint endpoints_destination_check check ((channel = 'memory') = (destination_id is null)) not valid,
  add constraint endpoints_destination_fkey foreign key (destination_id, channel)
    references carillon.destinations (destination_id, channel) not valid;

-- A device belongs to one user at a time: who registers it last has it. Webhook addresses are names that a receiver gives,
-- and may be the same for many, so they are left out, and cost nothing here. Nor do endpoints that are gone: a device may
-- have gone through many hands. There is no such row yet, so making the index is one scan.
create unique index endpoints_by_device
  on carillon.endpoints (carillon.address_key(channel, destination_id, address))
  where channel in ('fcm', 'apns', 'web-push') and gone_at is null;
comment on index carillon.endpoints_by_device is 'a device (fcm, apns, web-push) belongs to one user at a time';

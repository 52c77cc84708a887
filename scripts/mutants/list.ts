/** One change of the source that takes a promise away, and the tests that must notice. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** test files that are to turn red; any one failing test will do */
  readonly tests: readonly string[];
}

export interface Edit {
  readonly file: string;
  /** must be found; each place is changed */
  readonly find: string;
  readonly replace: string;
}

const intent = "src/store/intent.ts";
const outcome = "src/store/outcome.ts";
const deliver = "src/worker/deliver-group.ts";
const deliverTest = "test/worker/deliver-group.test.ts";

function mutant(name: string, file: string, find: string, replace: string, ...tests: string[]): Mutant {
  return { name, edits: [{ file, find, replace }], tests };
}

export const mutants: readonly Mutant[] = [
  // who may write
  {
    name: "intent: no epoch check",
    edits: [
      {
        file: intent,
        find: "and g.epoch = $3 and g.claim_token = $4 and g.next_chunk = $5",
        replace: "and $3::int is not null and $4::uuid is not null and g.next_chunk = $5",
      },
    ],
    tests: ["test/store/intent.test.ts"],
  },
  mutant(
    "intent: the fence is only read, not part of the write",
    intent,
    "      and g.epoch = $3 and g.claim_token = $4 and g.next_chunk = $5\n      and ($8",
    "      and ($8",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: no check of the mark that it reads from",
    intent,
    "and g.claim_token = $4 and g.next_chunk = $5",
    "and g.claim_token = $4",
    "test/store/intent.test.ts",
  ),
  mutant(
    "outcome: no epoch check",
    outcome,
    "and g.epoch = $3 and g.claim_token = $4\n    returning g.bucket_id",
    "and g.epoch >= $3 and $4::uuid is not null\n    returning g.bucket_id",
    "test/store/outcome.test.ts",
  ),
  mutant(
    "outcome: no token check",
    outcome,
    "and g.claim_token = $4\n    returning g.bucket_id",
    "and $4::uuid is not null\n    returning g.bucket_id",
    "test/store/outcome.test.ts",
  ),
  mutant(
    "settle: no epoch check",
    "src/store/settle.ts",
    "and g.epoch = $3 and g.claim_token = $4",
    "and $3::int is not null and $4::uuid is not null",
    "test/store/settle.test.ts",
  ),
  mutant(
    "release: no epoch check",
    "src/store/lease.ts",
    "where g.bucket_id = $1 and g.group_number = $2 and g.epoch = $3 and g.claim_token = $4",
    "where g.bucket_id = $1 and g.group_number = $2 and $3::int is not null and $4::uuid is not null",
    "test/store/lease.test.ts",
  ),
  mutant(
    "renewal: no token check",
    "src/store/lease.ts",
    "where g.epoch = m.epoch and g.claim_token = m.claim_token",
    "where g.epoch = m.epoch",
    "test/store/lease.test.ts",
  ),
  mutant(
    "claim: a live lease does not count",
    "src/store/claim.ts",
    "and (g.lease_until is null or g.lease_until < clock_timestamp())",
    "",
    "test/store/claim.test.ts",
  ),
  mutant(
    "claim: the epoch stays",
    "src/store/claim.ts",
    "set epoch = g.epoch + 1,",
    "set epoch = greatest(g.epoch, 1),",
    "test/store/claim.test.ts",
  ),
  mutant(
    "claim: waits for locked groups",
    "src/store/claim.ts",
    "for no key update of g skip locked",
    "for no key update of g",
    "test/store/claim.test.ts",
  ),
  mutant(
    "renewal: waits for locked groups",
    "src/store/lease.ts",
    "for no key update of g skip locked",
    "for no key update of g",
    "test/store/lease.test.ts",
  ),

  // planning
  {
    name: "no unique constraint on time buckets",
    edits: [
      { file: "db/migrations/0005_groups.sql", find: "  unique (schedule_id, occurrence, round),\n", replace: "" },
      {
        file: "src/store/plan.ts",
        find: "on conflict (schedule_id, occurrence, round) do nothing",
        replace: "on conflict do nothing",
      },
    ],
    tests: ["test/store/plan.test.ts"],
  },
  mutant(
    "plan: looks back 60 s",
    "src/planner/plan.ts",
    "const fromMs = Math.min(schedule.plannedThroughMs, nowMs);",
    "const fromMs = nowMs - 60_000;",
    "test/planner/plan.test.ts",
  ),
  mutant(
    "plan: a global watermark",
    "src/store/plan.ts",
    "where s.next_due_at <= carillon.clock()",
    "where s.created_at >= (select coalesce(max(planned_at) - interval '1 ms', to_timestamp(0)) from carillon.time_buckets) and s.next_due_at <= carillon.clock()",
    "test/store/plan.test.ts",
  ),
  mutant(
    "plan: planners wait for each other's schedules",
    "src/store/plan.ts",
    "for no key update of s skip locked",
    "for no key update of s",
    "test/store/plan.test.ts",
  ),
  mutant(
    "move: after the claim too",
    "src/store/time-buckets.ts",
    "for (const group of groups) if (group.epoch > 0) unclaimed.delete(group.bucket_id);",
    "if (groups.length < 0) unclaimed.clear();",
    "test/store/time-buckets.test.ts",
  ),
  mutant(
    "plan: an older node moves what a newer one has planned",
    "src/store/plan.ts",
    "theirs === null || tzdata === null || theirs <= tzdata",
    "theirs !== undefined",
    "test/store/zone-data.test.ts",
  ),
  mutant(
    "plan: what no longer comes stays",
    "src/planner/plan.ts",
    "dueAtMs > nowMs && !found.has(occurrence)",
    "dueAtMs < nowMs && !found.has(occurrence)",
    "test/store/plan.test.ts",
  ),
  mutant(
    "a version begins a day late",
    "src/timetable/versions.ts",
    "compareDates(effectiveFrom, date) <= 0",
    "compareDates(effectiveFrom, date) < 0",
    "test/timetable/versions.test.ts",
  ),
  mutant(
    "a correction adds the planner's job at once, and keeps it locked",
    "db/migrations/0010_timetable_versions.sql",
    "if found then perform set_config('carillon.wakes_planner', pg_current_xact_id()::text, true); end if;",
    "if found then perform carillon.wake_planner(); end if;",
    "test/store/timetable-change.test.ts",
  ),
  mutant(
    "an expiry follows after the claim, too",
    "db/migrations/0010_timetable_versions.sql",
    "where b.bucket_id = any (open_buckets) and t.topic_id = b.topic_id\n    and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.epoch > 0);",
    "where b.bucket_id = any (open_buckets) and t.topic_id = b.topic_id;",
    "test/store/topic-edits.test.ts",
  ),
  mutant(
    "cut: cutters wait for each other's buckets",
    "src/store/cut.ts",
    "for no key update of b skip locked",
    "for no key update of b",
    "test/store/cut.test.ts",
  ),
  mutant(
    "cut: no group where nobody subscribes",
    "src/reminder/group.ts",
    "Math.max(1, bySize, forAllNodes)",
    "Math.max(0, bySize, forAllNodes)",
    "test/reminder/group.test.ts",
  ),
  mutant(
    "cut: ranges that end a slot early",
    "src/reminder/group.ts",
    "lastSlot: Math.floor((hashSlots * (index + 1)) / count) - 1,",
    "lastSlot: Math.floor(((hashSlots - 1) * (index + 1)) / count) - 1,",
    "test/reminder/group.test.ts",
  ),

  // who is sent to, and when
  {
    name: "intent after send",
    edits: [
      {
        file: deliver,
        find: "return (small ? await statements.intendSmall(request) : null) ?? verb(db.pool, request);",
        replace: `if (standing !== null) return standing;
        const client = await db.pool.connect();
        await client.query("begin");
        const early = await verb(client, request);
        setTimeout(() => void client.query("commit").then(() => client.release()), 50);
        return early;`,
      },
    ],
    tests: [deliverTest],
  },
  mutant(
    "intent: ahead of the moment",
    intent,
    "and b.due_at <= now.at and b.expires_at > now.at",
    "and b.expires_at > now.at",
    "test/store/intent.test.ts",
    deliverTest,
  ),
  mutant(
    "intent: after the expiry",
    intent,
    "and b.due_at <= now.at and b.expires_at > now.at",
    "and b.due_at <= now.at",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: a halt is only read, not part of the write",
    intent,
    "      and ($8::int is not null or g.halted_at is null)\n    returning",
    "    returning",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: a pause of the topic does not count",
    intent,
    "and t.paused_at is null",
    "",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: who joined after the moment",
    "src/store/gate.ts",
    `\`\${subscription}.subscribed_at <= \${dueAt} and (`,
    `\`\${dueAt} is not null and (`,
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: who left before the moment",
    "src/store/gate.ts",
    ` and (\${subscription}.ended_at is null or \${subscription}.ended_at > \${dueAt})\``,
    "`",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: who left after the moment is sent to",
    "src/store/gate.ts",
    `when \${member}.has_left then 30`,
    "when false then 30",
    "test/store/intent.test.ts",
  ),
  mutant(
    "gate: who has moved on counts as having left",
    "src/store/gate.ts",
    `when \${subscription}.moved_to is null then true`,
    "when true then true",
    "test/store/intent.test.ts",
  ),
  mutant(
    "move: it takes effect at once, while a moment may be coming",
    "src/store/moves.ts",
    "[...columns, nowMs + leavingMs]",
    "[...columns, nowMs]",
    "test/acceptance/users-who-move.test.ts",
  ),
  mutant(
    "move: the new place begins now, whatever has come at the old one",
    "src/timetable/local-day.ts",
    "if (rung.size === 0) return nowMs;",
    "return nowMs;",
    "test/store/moving.test.ts",
  ),
  mutant(
    "move: who comes back forgets what had rung",
    "src/store/standing.ts",
    "if (beginning === null || beginning.rungThrough.size === 0) return null;",
    "return null;",
    "test/store/moving.test.ts",
  ),
  mutant(
    "intent: silence is not asked for",
    "src/store/gate.ts",
    `and m.muted_until > \${at}`,
    "and false",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: silence is not asked for in small groups",
    "src/store/gate.ts",
    "and m.muted_until > carillon.clock()",
    "and false",
    "test/store/small-groups.test.ts",
  ),
  mutant(
    "intent: a user's endpoints may be split",
    intent,
    "max(position) filter (where last_of_user and position <= $6)",
    "max(position) filter (where position <= $6)",
    "test/store/intent.test.ts",
  ),
  mutant(
    "intent: a full page is taken for the last",
    intent,
    "when (select count(*) from page) < $6 and",
    "when (select count(*) from page) <= $6 and",
    "test/store/intent.test.ts",
  ),
  mutant(
    "deferred: taken again while under way",
    intent,
    "where d.intent_chunk is null\n        and (",
    "where (",
    "test/store/intent-deferred.test.ts",
  ),
  mutant(
    "deferred: before its next try",
    intent,
    "d.next_try_at <= clock_timestamp() and d.parked_at is null",
    "d.parked_at is null",
    "test/store/intent-deferred.test.ts",
  ),
  mutant(
    "deferred: parked ones are sent",
    intent,
    "d.next_try_at <= clock_timestamp() and d.parked_at is null",
    "d.next_try_at <= clock_timestamp()",
    "test/store/intent-deferred.test.ts",
  ),
  mutant(
    "deferred: who was in doubt and left is recorded as not sent",
    intent,
    "when d.in_doubt and c.code > 0 then 14",
    "when false then 14",
    "test/store/intent-deferred.test.ts",
  ),
  mutant(
    "a cancel does not halt groups",
    "src/store/halt.ts",
    "    await haltGroups(client, [bucketId]);\n",
    "",
    "test/store/halt.test.ts",
  ),
  mutant(
    "a cut does not ask whether its buckets are paused",
    "src/store/cut.ts",
    "case when s.paused_at is not null or t.paused_at is not null then clock_timestamp() end",
    "null::timestamptz",
    "test/store/halt.test.ts",
  ),
  mutant(
    "a send begins though its lease ends first",
    "src/worker/send-chunk.ts",
    "held.outlives(worker.sendTimeoutMs) &&",
    "",
    deliverTest,
  ),
  mutant(
    "a send begins after the expiry",
    "src/worker/send-chunk.ts",
    "worker.clock.nowMs() < held.group.expiresAtMs",
    "true",
    deliverTest,
  ),
  mutant(
    "a worker that drains begins new sends",
    deliver,
    "this.#signal = AbortSignal.any([held.lost, worker.draining]);",
    "this.#signal = held.lost;",
    deliverTest,
  ),

  // the window
  mutant(
    "no window W: as much as is wanted",
    "src/worker/window.ts",
    "const room = Math.min(next.want, this.#free);",
    "const room = next.want;",
    deliverTest,
  ),
  mutant(
    "no window W: room is not waited for",
    deliver,
    "await this.#takeRoom()",
    "(this.#window.overdraw(this.#worker.chunk), this.#worker.chunk)",
    deliverTest,
  ),
  mutant(
    "room for less than a whole user",
    deliver,
    "this.#window.take(want, this.#signal, endpointsPerUser)",
    "this.#window.take(want, this.#signal, Math.min(1, endpointsPerUser))",
    deliverTest,
  ),
  mutant(
    "at-most-once has the large window",
    deliver,
    "return this.#worker.windows[this.#held.group.topic.deliveryMode];",
    "return this.#worker.windows.at_least_once;",
    deliverTest,
  ),
  mutant(
    "room is given back before the outcome is recorded",
    "src/worker/record-chunk.ts",
    "      await this.#record(judged);\n      this.#open -= judged.length;\n      this.#giveRoom(judged.length);",
    "      this.#giveRoom(judged.length);\n      await this.#record(judged);\n      this.#open -= judged.length;",
    deliverTest,
  ),
  mutant(
    "room that was not used is kept",
    deliver,
    "this.#window.give(spare);",
    "if (spare < 0) this.#window.give(spare);",
    deliverTest,
  ),

  // in doubt, retries, unknown commits
  mutant(
    "retry of in-doubt in at-most-once",
    "src/worker/verdict.ts",
    'if (circumstances.deliveryMode === "at_most_once") return final(outcomeCodes.inDoubt, outcome);',
    "",
    "test/worker/verdict.test.ts",
  ),
  mutant(
    "a rescue sends again what an at-most-once owner left in doubt",
    "src/worker/resolve-in-doubt.ts",
    'member.hashSlot === null ? "at_most_once" : group.topic.deliveryMode',
    'member.hashSlot === null ? "at_most_once" : "at_least_once"',
    deliverTest,
  ),
  mutant(
    "a rescue forgets what was in doubt",
    deliver,
    "if (group.nextChunk > 0) {",
    "if (group.nextChunk < 0) {",
    deliverTest,
  ),
  mutant(
    "in doubt: what the range holds now, instead of recorded members",
    outcome,
    "where c.bucket_id = $1 and c.group_number = $2 and c.due_day = $3\n        and s.wholly",
    "join carillon.subscriptions x on x.user_number = m.user_number where c.bucket_id = $1 and c.group_number = $2 and c.due_day = $3\n        and s.wholly",
    "test/store/outcome.test.ts",
  ),
  mutant(
    "a delivery whose owners are lost is never parked",
    outcome,
    `parked_at = case when d.takeovers + excluded.takeovers >= \${parkAfterTakeovers} then clock_timestamp() end,`,
    "parked_at = null,",
    "test/store/outcome.test.ts",
  ),
  mutant(
    "a next attempt has the number of the last",
    "src/worker/verdict.ts",
    "outcome, attempt + 1, nextMs, nowMs)",
    "outcome, Math.max(1, attempt), nextMs, nowMs)",
    "test/worker/verdict.test.ts",
  ),
  mutant(
    "Retry-After is ignored when the wait is drawn",
    "src/reminder/retry-policy.ts",
    "Math.max(0, retryAfterMs ?? 0) + ",
    "",
    "test/worker/verdict.test.ts",
    "test/reminder/retry-policy.test.ts",
  ),
  mutant(
    "Retry-After is ignored in a verdict",
    "src/worker/verdict.ts",
    "nextTryMs({ ...circumstances, retryAfterMs: outcome.retryAfterMs })",
    "nextTryMs(circumstances)",
    "test/worker/verdict.test.ts",
    deliverTest,
  ),
  mutant(
    "an intent whose reply was lost is not looked up",
    deliver,
    "repeated || looked ? await findIntent",
    "repeated && looked && this.sent < 0 ? await findIntent",
    deliverTest,
  ),
  mutant(
    "an outcome whose reply was lost is not looked up",
    "src/worker/record-chunk.ts",
    "(repeated && (await outcomeStands(db.pool, record))) || statements.record",
    "(repeated && (await outcomeStands(db.pool, record)) && this.#open < 0) || statements.record",
    deliverTest,
  ),
  mutant(
    "an intent that is looked up has its members in another order",
    intent,
    "    order by n.position\n",
    "    order by n.position desc\n",
    "test/store/intent.test.ts",
  ),
  mutant(
    "gone: a token that was registered since it was found dead is pruned",
    outcome,
    "e.registered_at <= to_timestamp(x.since_ms / 1000)",
    "x.since_ms is not null",
    "test/store/outcome.test.ts",
  ),
  mutant(
    "gone: the wrong environment prunes everybody",
    "src/channels/apns-evidence.ts",
    "|| this.#hasAccepted ||",
    "|| true ||",
    "test/channels/apns.test.ts",
  ),
  mutant(
    "circuit: what a GOAWAY leaves out counts as silence",
    "src/worker/circuit.ts",
    " && outcome.heard !== true",
    "",
    "test/worker/circuit.test.ts",
  ),
  mutant(
    "an endpoint that is gone stays",
    outcome,
    "set gone_at = clock_timestamp(), gone_reason = x.reason",
    "set gone_reason = x.reason",
    "test/store/outcome.test.ts",
  ),

  // closing and waking
  mutant(
    "the end mark is set while deliveries are deferred",
    "src/store/settle.ts",
    "  and not exists (\n    select from carillon.deferred d where d.bucket_id = g.bucket_id and d.group_number = g.group_number)",
    "",
    "test/store/settle.test.ts",
  ),
  mutant(
    "the end mark is set before the end",
    "src/store/settle.ts",
    "  g.paged_at is not null\n  and not exists",
    "  not exists",
    "test/store/settle.test.ts",
  ),
  mutant(
    "a bucket is closed while groups are open",
    "src/store/settle.ts",
    "\n  and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.finished_at is null)",
    "",
    "test/store/settle.test.ts",
  ),
  mutant(
    "a bucket is closed twice",
    "src/store/settle.ts",
    "  b.closed_at is null and b.cut_at is not null\n",
    "  b.cut_at is not null\n",
    "test/store/settle.test.ts",
  ),
  mutant(
    "a small group is sent to before its moment, or after its expiry",
    "src/store/intent-many.ts",
    `join carillon.topics t on t.topic_id = b.topic_id\n      cross join (select carillon.clock() as at offset 0) as now\n      where g.epoch = a.epoch and g.claim_token = a.claim_token and g.next_chunk = a.chunk_number and (\${mayBeSent})`,
    "join carillon.topics t on t.topic_id = b.topic_id\n      cross join (select carillon.clock() as at offset 0) as now\n      where g.epoch = a.epoch and g.claim_token = a.claim_token and g.next_chunk = a.chunk_number",
    "test/store/small-groups.test.ts",
  ),
  mutant(
    "a small group that is larger than its room is taken all the same",
    "src/store/intent-many.ts",
    "where coalesce(r.members, 0) <= h.most",
    "where coalesce(r.members, 0) <= h.most + 100",
    "test/store/small-groups.test.ts",
  ),
  {
    name: "outcomes of small groups are recorded under a stale epoch",
    edits: [
      { file: "src/store/outcome-many.ts", find: "g.epoch = w.epoch and ", replace: "" },
      { file: "src/store/outcome-many.ts", find: "g.epoch = h.epoch and ", replace: "" },
      {
        file: "src/store/outcome-many.ts",
        find: "returning g.bucket_id, g.group_number, g.epoch, g.claim_token",
        replace: "returning g.bucket_id, g.group_number, h.epoch, g.claim_token",
      },
    ],
    tests: ["test/store/small-groups.test.ts"],
  },
  {
    name: "an end mark is set under a stale epoch, where many are set",
    edits: [
      { file: "src/store/settle.ts", find: "g.epoch = a.epoch and ", replace: "" },
      { file: "src/store/settle.ts", find: "g.epoch = h.epoch and ", replace: "" },
    ],
    tests: ["test/store/small-groups.test.ts"],
  },
  mutant(
    "one small group that can't be written keeps the others from it",
    "src/worker/statements.ts",
    "      if (isTransient(error)) throw error;\n      return requests.map(one);",
    "      throw isTransient(error) ? error : error;",
    "test/worker/statements.test.ts",
  ),
  mutant(
    "a bundle loses its job with its first group",
    "src/store/jobs.ts",
    `\${more.length === 0 ? "" : "+"}`,
    "",
    "test/store/jobs.test.ts",
  ),
  mutant(
    "a bundle whose first bucket is paused gets no job",
    "src/store/cut.ts",
    "const free = groups.filter(({ bucket }) => !paused.has(bucket.bucketId));\n    await addGroupJobs(client, jobsOf(free, liveNodes));",
    "await addGroupJobs(client, jobsOf(groups, liveNodes).filter((job) => !paused.has(job.bucketId)));",
    "test/store/cut.test.ts",
  ),
  mutant(
    "a bucket of several groups goes to one node",
    "src/store/claim.ts",
    `coalesce(g.population, \${smallBucket} + 1) as population`,
    `coalesce(b.population, \${smallBucket} + 1) as population`,
    "test/store/small-groups.test.ts",
  ),
  mutant(
    "the sweep passes over groups that were never claimed",
    "src/store/rescue.ts",
    "and (g.lease_until is null or g.lease_until < clock_timestamp())",
    "and g.lease_until < clock_timestamp()",
    "test/store/rescue.test.ts",
  ),
  mutant(
    "the sweep takes the job of a dead worker for a waiting one",
    "src/store/rescue.ts",
    "and j.locked_at is null and j.attempts < j.max_attempts",
    "and j.attempts < j.max_attempts",
    "test/store/rescue.test.ts",
  ),
  mutant(
    "a job that waits is not pulled forward",
    "src/store/jobs.ts",
    "as g (bucket_id, group_number, due_at_ms, share, more, key)), false)",
    "as g (bucket_id, group_number, due_at_ms, share, more, key)), true)",
    "test/store/rescue.test.ts",
  ),
  mutant(
    "jobs are pushed on each time they are asked for",
    "src/store/jobs.ts",
    "null, least(now(), (select j.run_at from graphile_worker.jobs j where j.key = g.key)), $6",
    "null, now(), $6",
    "test/store/jobs.test.ts",
  ),
  mutant(
    "a group that is released has no job",
    "src/store/lease.ts",
    "  if (row === undefined) return false;\n  await addGroupJobAt(",
    "  if (row === undefined) return false;\n  if (row.due_at_ms < 0) await addGroupJobAt(",
    "test/store/lease.test.ts",
  ),

  // time, leases and the process
  mutant(
    "Date.now() for the lease",
    "src/clock.ts",
    "export const monotonicMs: Monotonic = () => performance.now();",
    "export const monotonicMs: Monotonic = () => Date.now();",
    "test/worker/held-group.test.ts",
  ),
  mutant(
    "a lease counts from when its renewal was answered",
    "src/worker/heartbeat.ts",
    "held?.renew(before + leaseMs)",
    "held?.renew(monotonicMs() + leaseMs)",
    "test/worker/heartbeat.test.ts",
  ),
  mutant(
    "heartbeat from the shared pool",
    "src/worker/worker.ts",
    "new Heartbeat(heartbeatDb, clock",
    "new Heartbeat(db, clock",
    "test/worker/worker.test.ts",
  ),
  mutant(
    "a stuck group keeps its lease",
    "src/worker/heartbeat.ts",
    'if (held.stuck) held.lose("its step outlasted its deadline");\n      else moving',
    "moving",
    "test/worker/heartbeat.test.ts",
  ),
  mutant(
    "the watchdog does not bite",
    "src/worker/watchdog.ts",
    'process.kill(pid, "SIGKILL");',
    "",
    "test/worker/watchdog.test.ts",
  ),
  mutant(
    "the watchdog bites who was stopped as a whole",
    "src/worker/watchdog.ts",
    "    misses = now === seen ? misses + 1 : 0;",
    "    const at = Date.now(); misses = at - (globalThis.lastAt ?? at) > tickMs * missesMax ? missesMax : now === seen ? misses + 1 : 0; globalThis.lastAt = at;",
    "test/worker/watchdog.test.ts",
  ),
  mutant(
    "no query timeout",
    "src/store/database.ts",
    "{ query_timeout: statementTimeoutMs + 1000 }",
    "{}",
    "test/support/database.test.ts",
  ),
  mutant(
    "a client that was not answered goes back to the pool",
    "src/store/database.ts",
    "    endWhenUnanswered(client);\n",
    "",
    "test/support/database.test.ts",
  ),

  // the outside
  mutant(
    "SSRF checked only when subscribing: literals",
    "src/channels/egress-guard.ts",
    "if (isIP(options.hostname) !== 0 && !isAllowedAddress(options.hostname, policy)) {",
    "if (false) {",
    "test/channels/egress-guard.test.ts",
  ),
  mutant(
    "SSRF checked only when subscribing: names",
    "src/channels/egress-guard.ts",
    "} else if (!addresses.every(({ address }) => isAllowedAddress(address, policy))) {",
    "} else if (addresses.length < 0) {",
    "test/channels/egress-guard.test.ts",
  ),
  mutant(
    "SSRF: one good address of a name is enough",
    "src/channels/egress-guard.ts",
    "!addresses.every(",
    "!addresses.some(",
    "test/channels/egress-guard.test.ts",
  ),

  // what is said
  mutant(
    "messages: shared over zones",
    "src/reminder/message.ts",
    "[edition.number, zone, locale]",
    "[edition.number, locale]",
    "test/reminder/message.property.test.ts",
  ),
  mutant(
    "messages: shared over locales",
    "src/reminder/message.ts",
    "[edition.number, zone, locale]",
    "[edition.number, zone]",
    "test/reminder/message.property.test.ts",
  ),
  mutant(
    "messages: one language's words for another's readers",
    "src/reminder/message.ts",
    "[edition.number, zone, locale]",
    "[zone, locale]",
    "test/reminder/message.property.test.ts",
  ),
  mutant(
    "messages: a worker goes on saying what the topic said before",
    "src/worker/message-book.ts",
    "if (page?.version === topic.version) return page.template;",
    "if (page !== undefined) return page.template;",
    "test/worker/group-messages.test.ts",
  ),
  mutant(
    "messages: what can't be rendered keeps the others from theirs",
    "src/worker/send-chunk.ts",
    "    await sendParcel(readers, deliveries);\n",
    '    if (readers.length === members.length) await sendParcel(readers, deliveries);\n    else settleAll(readers, { kind: "rejected", reason: "" });\n',
    "test/worker/group-messages.test.ts",
  ),
  mutant(
    "messages: a batch says to all what it says to most",
    "src/channels/webhook-body.ts",
    "words === shared",
    'words !== ""',
    "test/channels/webhook.test.ts",
  ),
];

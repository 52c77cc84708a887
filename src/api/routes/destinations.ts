import { checkUrl, type EgressPolicy } from "../../channels/egress-guard.ts";
import { CarillonError, unreachable } from "../../errors.ts";
import {
  createDestination,
  type DestinationPatch,
  listDestinations,
  type NewDestination,
  patchDestination,
  readDestination,
  type StoredDestination,
  type WithNewSecret,
} from "../../store/destinations.ts";
import { namePath, type Parser, page, parser } from "../contract/contract.ts";
import { destinationPatches, type NewDestinationBody, newDestination } from "../contract/destination.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

const fcmUrl = "https://fcm.googleapis.com";
const apnsUrl = "https://api.push.apple.com";
const apnsSandboxUrl = "https://api.sandbox.push.apple.com";

/** What a body means depends on the kind of destination, which has to be looked up first. */
const anything: Parser<unknown> = { parse: (input) => input };

export function destinationRoutes({ db, secretKey, egressPolicy }: ApiDeps): Route[] {
  const params = parser(namePath, ":");
  return [
    route({
      method: "post",
      path: "/destinations",
      scope: "admin",
      body: newDestination,
      run: async ({ body }) => {
        const created = await createDestination(db, allowedDestination(body, egressPolicy), secretKey);
        return { status: 201, body: withSecret(created) };
      },
    }),
    route({
      method: "get",
      path: "/destinations",
      scope: "admin",
      query: parser(page, "?"),
      run: async ({ query: { limit, cursor = null } }) => {
        const destinations = await listDestinations(db, { after: cursor, limit: limit + 1 });
        return { status: 200, body: pageOf("destinations", destinations, limit, (each) => each.name) };
      },
    }),
    route({
      method: "get",
      path: "/destinations/:name",
      scope: "admin",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: await readDestination(db, name) }),
    }),
    route({
      method: "patch",
      path: "/destinations/:name",
      scope: "admin",
      params,
      body: anything,
      run: async ({ params: { name }, body }) => {
        const patch = allowedPatch(await readDestination(db, name), body, egressPolicy);
        return { status: 200, body: withSecret(await patchDestination(db, name, patch, secretKey)) };
      },
    }),
  ];
}

/** A new destination whose URLs may be dialled, with the provider's own where none is given. */
function allowedDestination(body: NewDestinationBody, policy: EgressPolicy): NewDestination {
  switch (body.channel) {
    case "webhook":
      return { ...body, url: checkUrl(body.url, policy, "/url").href };
    case "fcm": {
      const { name, channel, url, serviceAccount } = body;
      return {
        name,
        channel,
        url: url === undefined ? fcmUrl : baseUrl(url, policy),
        ...allowedAccount(serviceAccount, policy),
      };
    }
    case "apns": {
      const { sandbox, url, ...rest } = body;
      return { ...rest, url: url === undefined ? appleUrl(sandbox === true) : baseUrl(url, policy) };
    }
    case "web-push":
      return { ...body, url: "" };
    default:
      return unreachable(body);
  }
}

/** A change of what is there, by what its kind may change. */
function allowedPatch(stored: StoredDestination, body: unknown, policy: EgressPolicy): DestinationPatch {
  switch (stored.channel) {
    case "webhook": {
      const patch = destinationPatches.webhook.parse(body);
      return { ...patch, url: patch.url === undefined ? undefined : checkUrl(patch.url, policy, "/url").href };
    }
    case "fcm": {
      const { url, disabled, serviceAccount } = destinationPatches.fcm.parse(body);
      const changed = { url: url === undefined ? undefined : baseUrl(url, policy), disabled };
      if (serviceAccount === undefined) return changed;
      if (serviceAccount.projectId !== stored.projectId) {
        const detail = `Tokens of ${stored.projectId} are of no use to another project: make another destination.`;
        throw new CarillonError("bad_credentials", detail, { pointer: "/serviceAccount/project_id" });
      }
      const { privateKey, ...settings } = allowedAccount(serviceAccount, policy);
      return { ...changed, settings, privateKey };
    }
    case "apns": {
      const { url, sandbox, disabled, privateKey, ...settings } = destinationPatches.apns.parse(body);
      const sandboxUrl = sandbox === undefined ? undefined : appleUrl(sandbox);
      return { url: url === undefined ? sandboxUrl : baseUrl(url, policy), disabled, privateKey, settings };
    }
    case "web-push": {
      const { disabled, ...settings } = destinationPatches["web-push"].parse(body);
      return { disabled, settings };
    }
    default:
      return unreachable(stored);
  }
}

function allowedAccount<T extends { readonly tokenUrl: string }>(account: T, policy: EgressPolicy): T {
  return { ...account, tokenUrl: checkUrl(account.tokenUrl, policy, "/serviceAccount/token_uri").href };
}

function appleUrl(sandbox: boolean): string {
  return sandbox ? apnsSandboxUrl : apnsUrl;
}

/** What paths are appended to. */
function baseUrl(url: string, policy: EgressPolicy): string {
  const { origin, pathname } = checkUrl(url, policy, "/url");
  return `${origin}${pathname.replace(/\/+$/, "")}`;
}

/** A generated secret is handed over here, once; it can't be asked for again. */
function withSecret({ destination, newSecret }: WithNewSecret) {
  return newSecret === null ? destination : { ...destination, secret: newSecret };
}

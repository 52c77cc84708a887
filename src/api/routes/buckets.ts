import { listBuckets, readBucket } from "../../store/bucket-progress.ts";
import { cancelBucket } from "../../store/halt.ts";
import { bucketPath, bucketsQuery } from "../contract/bucket.ts";
import { parser } from "../contract/contract.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

export function bucketRoutes({ db }: ApiDeps): Route[] {
  const params = parser(bucketPath, ":");
  return [
    route({
      method: "get",
      path: "/buckets",
      scope: "admin",
      query: parser(bucketsQuery, "?"),
      run: async ({ query: { state, limit, cursor = null } }) => {
        const buckets = await listBuckets(db, state, { after: cursor, limit: limit + 1 });
        return { status: 200, body: pageOf("buckets", buckets, limit, (bucket) => bucket.bucketId) };
      },
    }),
    route({
      method: "get",
      path: "/buckets/:bucketId",
      scope: "admin",
      params,
      run: async ({ params: { bucketId } }) => ({ status: 200, body: await readBucket(db, bucketId) }),
    }),
    route({
      method: "post",
      path: "/buckets/:bucketId/cancel",
      scope: "admin",
      params,
      run: async ({ params: { bucketId } }) => {
        await cancelBucket(db, bucketId);
        return { status: 200, body: await readBucket(db, bucketId) };
      },
    }),
  ];
}

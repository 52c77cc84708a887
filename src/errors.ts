/**
 * The one catalogue of errors. Each has a stable `code`, the HTTP status that the API answers with and a title
 * that says what is wrong. docs/errors.md is checked against this list by a test.
 */
export const errorCatalogue = {
  invalid_request: { status: 400, title: "The request is not well formed" },
  malformed_json: { status: 400, title: "The body is not valid JSON" },
  unsupported_media_type: { status: 415, title: "The body must be sent as application/json" },
  body_too_large: { status: 413, title: "The body is too large" },
  too_many_items: { status: 413, title: "Too many items in one request" },
  unauthenticated: { status: 401, title: "A valid API key is needed" },
  forbidden: { status: 403, title: "The API key lacks the scope for this call" },
  forbidden_origin: { status: 403, title: "Requests from this host or origin are refused" },
  not_found: { status: 404, title: "There is nothing at this address" },
  method_not_allowed: { status: 405, title: "This method is not allowed here" },
  unknown_topic: { status: 422, title: "There is no such topic" },
  unknown_place: { status: 422, title: "There is no such place" },
  unknown_slot: { status: 422, title: "The place's timetable has no such slot" },
  unknown_timetable: { status: 422, title: "There is no such timetable" },
  unknown_destination: { status: 422, title: "There is no such destination" },
  unknown_user: { status: 404, title: "There is no such user" },
  unknown_subscription: { status: 404, title: "There is no such subscription" },
  subscription_ended: { status: 409, title: "The subscription has ended" },
  subscription_has_no_place: { status: 422, title: "The subscription is not to a place's timetable" },
  unknown_bucket: { status: 404, title: "There is no such time bucket" },
  unknown_zone: { status: 422, title: "There is no such IANA time zone" },
  malformed_time: { status: 422, title: "The time is not well formed" },
  malformed_table: { status: 422, title: "The table is not well formed" },
  wrong_encoding: { status: 422, title: "The text is not UTF-8" },
  malformed_rrule: { status: 422, title: "The RRULE is not well formed" },
  recurs_too_often: { status: 422, title: "The rule comes more often than once a minute" },
  user_zone_missing: { status: 422, title: "The user's own zone is not known" },
  past_instant: { status: 422, title: "The instant is not at least one second ahead" },
  never_occurs: { status: 422, title: "The rule yields no occurrence" },
  offset_out_of_range: { status: 422, title: "The offset is out of range" },
  far_from_any_place: { status: 422, title: "No known place is near these coordinates" },
  group_count_too_small: { status: 422, title: "A preset group count must be at least 2" },
  hostile_url: { status: 422, title: "The URL is not allowed as a destination" },
  bad_subscription: { status: 422, title: "The address is not a browser's push subscription" },
  unknown_schedule: { status: 404, title: "There is no such schedule" },
  unknown_endpoint: { status: 404, title: "There is no such endpoint" },
  unknown_api_key: { status: 404, title: "There is no such API key" },
  too_many_endpoints: { status: 422, title: "A user can have 20 endpoints at most" },
  bad_credentials: { status: 422, title: "The push service's credentials can't be used" },
  bad_address: { status: 422, title: "The address is not one of its channel" },
  address_given_twice: { status: 422, title: "Two users can't have one device in the same request" },
  bad_template: { status: 422, title: "The template can't be rendered" },
  destination_mismatch: { status: 422, title: "The channel and the destination do not go together" },
  already_claimed: { status: 409, title: "The time bucket has been claimed and can no longer be moved" },
  bucket_closed: { status: 409, title: "The time bucket is closed" },
  unknown_version: { status: 404, title: "The timetable has no such version" },
  version_overlaps: { status: 409, title: "Another version of the timetable begins on the same date" },
  timetable_hole: { status: 409, title: "Dates would be left without any version of the timetable" },
  name_taken: { status: 409, title: "The name is taken" },
  database_unavailable: { status: 503, title: "Postgres can't be reached or did not answer in time" },
  stopping: { status: 503, title: "This process is shutting down" },
  internal: { status: 500, title: "Something went wrong on our side" },
  unknown_columns: { status: 422, title: "The file's columns are not those of this kind" },
  malformed_line: { status: 422, title: "The line is not well formed" },
  import_under_way: { status: 409, title: "Another process is importing this file" },
  not_a_demo_database: { status: 409, title: "The database is neither empty nor marked for the demo" },
  not_a_development_database: { status: 409, title: "The database is not marked for development" },
  schema_out_of_date: { status: 503, title: "The database's schema is older than this program: run carillon migrate" },
  bad_configuration: { status: 500, title: "The configuration is not valid" },
  secret_key_missing: { status: 500, title: "CARILLON_SECRET_KEY is needed to read or store destination secrets" },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

/** Where in a text; both from 1. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

/**
 * An error with a code from the catalogue. `pointer` is an RFC 6901 JSON pointer to the field at fault, `position` where
 * in its text.
 */
export class CarillonError extends Error {
  override readonly name = "CarillonError";
  readonly code: ErrorCode;
  readonly pointer: string | undefined;
  readonly position: TextPosition | undefined;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { pointer?: string; position?: TextPosition; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.pointer = options.pointer;
    this.position = options.position;
  }

  get status(): number {
    return errorCatalogue[this.code].status;
  }

  get title(): string {
    return errorCatalogue[this.code].title;
  }
}

/**
 * Several mistakes in one request, each with its own code and pointer: whoever sent a thousand items wants to hear of
 * all that are wrong at once. Its own code, and with it the status, is the first one's.
 */
export class ManyErrors extends CarillonError {
  readonly errors: readonly CarillonError[];

  constructor(errors: readonly [CarillonError, ...CarillonError[]]) {
    const [first] = errors;
    const others = errors.length - 1;
    const detail = others === 0 ? first.message : `${first.message} (and ${others} more)`;
    super(first.code, detail, first.pointer === undefined ? {} : { pointer: first.pointer });
    this.errors = errors;
  }
}

/** Throws what is in the list: nothing, the one error, or all of them together. */
export function throwAny(errors: readonly CarillonError[]): void {
  const [first, ...others] = errors;
  if (first === undefined) return;
  throw others.length === 0 ? first : new ManyErrors([first, ...others]);
}

/** What was thrown, as an error: anything can be thrown. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** For the default branch of a switch over a closed union: the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

// What authors of hooks touch. The contract, wit/hooks.wit and wit/services.wit, says what each thing means.

// --- Role fulfiller: export function fulfill(event, context) ---

/** What a later version of the contract may say beside a record's fields, by name; nothing yet. Ignore what you do not know. */
export type More = [string, string][];

export interface Event {
  /** The event's id. */
  id: string;
  /** `invoice.paid` and so on. */
  kind: string;
  /** What the webhook of this event carries. */
  payload: Payload;
  more: More;
}

export interface Payload {
  type: string;
  timestamp: string;
  data: { invoice?: Invoice; [field: string]: any };
}

/** The fields of an invoice that hooks mostly need; all of them are in the server's `/docs`. */
export interface Invoice {
  id: string;
  order_id: string | null;
  title: string;
  tag: string | null;
  meta: any;
  test: boolean;
  status: string;
  payable_network: string;
  payable_asset: string;
  /** Whole units, as decimal text. */
  amount: string;
  [field: string]: any;
}

export interface FulfillContext<Settings = any> {
  /** The run's id, the same at every try. */
  run: string;
  /** Which try this is, from 1. */
  attempt: number;
  nowMs: number;
  settings: Settings;
  more: More;
}

export type Outcome =
  | { tag: "done"; val: string }
  | { tag: "retry"; val: [number, string] }
  | { tag: "reject"; val: string };

/** Done; the note is shown to the merchant. */
export function done(note?: string): Outcome;
/** Not now: try again after so many seconds. */
export function retry(seconds: number, why: string): Outcome;
/** Never: a person shall look. */
export function reject(why: string): Outcome;

export type Fulfill<Settings = any> = (event: Event, context: FulfillContext<Settings>) => Outcome;

// --- Role matcher: export function matchTransfer(transfer, candidates, context) ---

export type Memo = { tag: "none" } | { tag: "text"; val: string } | { tag: "unreadable"; val: string };

export interface Transfer {
  tx: string;
  ordinal: number;
  asset: number;
  sender: string | null;
  recipient: string;
  /** Base units; null: more than 128 bits hold. */
  readonly amount: bigint | null;
  memo: Memo;
  height: number;
  more: More;
}

export interface Candidate {
  readonly due: bigint;
  readonly received: bigint;
  createdMs: number;
  expiresMs: number;
  tag: string;
  orderId: string;
  more: More | null;
}

export interface MatchContext<Settings = any> {
  network: string;
  asset: string;
  decimals: number;
  nowMs: number;
  settings: Settings;
  more: More;
}

export interface Part {
  /** Index in the list of candidates. */
  candidate: number;
  amount: bigint;
}

export type Decision =
  | { tag: "pay"; val: number }
  | { tag: "split"; val: Part[] }
  | { tag: "review"; val: string }
  | { tag: "pass" };

/** All of it pays the candidate at this index. */
export function pay(candidate: number): Decision;
export function split(parts: Part[]): Decision;
/** A person shall look. */
export function review(why: string): Decision;
/** No opinion: the built-in policy decides. */
export function pass(): Decision;

export type MatchTransfer<Settings = any> = (
  transfer: Transfer,
  candidates: Candidate[],
  context: MatchContext<Settings>,
) => Decision;

// --- Role rates: export function priceOf(pair, context) ---

export interface Pair {
  asset: string;
  currency: string;
  more: More;
}

/** One whole unit costs `mantissa / 10^scale`. */
export interface Price {
  /** At most 2^53, which is as far as numbers are exact at the boundary. */
  mantissa: number | bigint;
  scale: number;
  /** When the source says that this was so. */
  atMs: number;
}

export interface RatesContext<Settings = any> {
  nowMs: number;
  settings: Settings;
  more: More;
}

export type NoPrice = { tag: "unknown-pair" } | { tag: "source"; val: string } | { tag: "other"; val: string };

export function unknownPair(): NoPrice;
/** The source did not answer usefully. */
export function noPrice(why: string): NoPrice;

export type PriceOf<Settings = any> = (pair: Pair, context: RatesContext<Settings>) => Price | NoPrice;

// --- Role form: export function render(delivery, context) ---

/** An event on its way to one endpoint. */
export interface Delivery {
  /** The delivery's id, the same at each attempt. */
  id: string;
  /** The event's id, the same at each endpoint. */
  event: string;
  /** `invoice.paid` and so on. */
  kind: string;
  createdMs: number;
  /** Which attempt this is, from 1. */
  attempt: number;
  /** What the form `standard` sends. */
  payload: Payload;
  /** The same as text. */
  payloadText: string;
  /** The endpoint's id. */
  endpoint: string;
  url: string;
  more: More;
}

export interface FormContext<Settings = any> {
  nowMs: number;
  settings: Settings;
  /** The names of the secrets that are set. */
  secrets: string[];
  more: More;
}

/** What goes to the endpoint, and what it has to answer. */
export interface Rendered extends RequestOptions {
  /** Without it, `post`. */
  method?: string;
  taken?: {
    /** Without them, any from 200 to 299. */
    statuses?: number[];
    /** A text that has to be in the answer's body too. */
    body?: string;
  };
}

export type NotRendered =
  | { tag: "unsupported"; val: string }
  | { tag: "malformed"; val: string }
  | { tag: "settings"; val: string }
  | { tag: "secret"; val: string }
  | { tag: "other"; val: string };

/** This form has no word for events of this kind: the delivery ends here, and is no failure. */
export function unsupported(why: string): NotRendered;
/** The payload is not what the form expects. */
export function malformed(why: string): NotRendered;

/** A secret that is missing, or no key for its algorithm, is answered for you when {@link secrets} throws. */
export type Render<Settings = any> = (
  delivery: Delivery,
  context: FormContext<Settings>,
) => Rendered | NotRendered;

// --- Services ---

/** What a service answers when it cannot. */
export class ServiceError extends Error {
  service: "http" | "random" | "secrets" | "storage" | "webhooks";
  /** The case's name in the contract: `timeout`, `denied`, `quota` and so on. */
  kind: string;
  /** What the case carries: a text, or a number of milliseconds or bytes. */
  detail?: string | number;
}

/** Keys have at most 256 bytes. */
export const storage: {
  /** The value as text. */
  get(key: string): string | null;
  getBytes(key: string): Uint8Array | null;
  /** The values of up to 100 keys at once, in their order. */
  getMany(keys: string[]): (string | null)[];
  getManyBytes(keys: string[]): (Uint8Array | null)[];
  getJson(key: string): any;
  set(key: string, value: string | Uint8Array): void;
  setJson(key: string, value: unknown): void;
  delete(key: string): void;
  /** Ascending; at most 1,000 at once, then on with `after`. */
  keys(prefix: string, options?: { after?: string; limit?: number }): string[];
};

/** `{secret:NAME}`: stands anywhere in a header's value or a URL for a secret that is bound to the request's host. */
export function secret(name: string): string;

/** A text for a header or a URL in which nothing stands for a secret: what is not your own goes through this. */
export function literal(value: string): string;

export interface RequestOptions {
  headers?: Record<string, string>;
  /** Sent as JSON, with its content type. */
  json?: unknown;
  body?: string | Uint8Array;
}

export interface Request extends RequestOptions {
  /** Any name; `CONNECT` and `TRACE` are refused. Without it, `get`. */
  method?: string;
  url: string;
}

export interface Response {
  status: number;
  /** 200 to 299. */
  ok: boolean;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: Uint8Array;
  text(): string;
  /** Throws if it is no JSON: catch it, since anyone may stand between here and the service. */
  json(): any;
}

/** Answers at once; there is nothing to await. No answer at all is a {@link ServiceError}; a status never is. */
export const http: {
  /** With any method. */
  request(request: Request): Response;
  get(url: string, options?: RequestOptions): Response;
  head(url: string, options?: RequestOptions): Response;
  post(url: string, options?: RequestOptions): Response;
  put(url: string, options?: RequestOptions): Response;
  patch(url: string, options?: RequestOptions): Response;
  delete(url: string, options?: RequestOptions): Response;
  /** All at the same time; answers in the same order. */
  sendAll(requests: Request[]): (Response | ServiceError)[];
};

export const webhooks: {
  /** `event` begins with `hook.`; without an endpoint's id it goes to all that listen to it. Answers the event's id. */
  queue(event: string, data: object, endpoint?: string | null): string;
};

export const secrets: {
  /**
   * The message's signature under a secret that signs. `algorithm` is `HMAC-SHA1`, `HMAC-SHA256`, `HMAC-SHA512`, `Ed25519`,
   * `ES256` or `RS256`; wit/services.wit says what each makes and which keys it takes.
   */
  sign(secret: string, algorithm: string, message: string | Uint8Array): Uint8Array;
};

export const random: {
  /** Bytes that nobody can guess, at most 4,096 in a call of the hook. A replay is given the same. */
  bytes(count: number): Uint8Array;
};

export const clock: {
  /** The host's time, rounded down to 100 ms. */
  nowMs(): number;
};

/** `console` writes here too. */
export const log: {
  debug(message: unknown): void;
  info(message: unknown): void;
  warn(message: unknown): void;
  error(message: unknown): void;
};

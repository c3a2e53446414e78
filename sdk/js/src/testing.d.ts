/** The host's services under Node.js, in memory. Storage is filled and read with the SDK's own `storage`. */
export const fake: {
  /** All as at the beginning. */
  reset(): void;
  /** What is in storage. */
  values: Map<string, Uint8Array>;
  /** The webhooks that were queued. */
  queued: { endpoint: string | null; event: string; data: any }[];
  /** The requests that were sent. */
  requests: FakeRequest[];
  logs: { level: string; message: string }[];
  nowMs: number;
  /** Answers each request. */
  answer(request: FakeRequest): FakeAnswer;
  /** Signs; throw `{ payload: { tag, val } }` for a case of `secret-error`. */
  sign(secret: string, algorithm: string, message: Uint8Array): Uint8Array;
  /** The bytes 0, 1, 2 and so on, unless the test gives others. */
  random(count: number): Uint8Array;
};

export interface FakeRequest {
  method: string;
  url: string;
  /** As the hook wrote them: a secret is `{secret:NAME}`. */
  headers: Record<string, string>;
  text: string;
  json?: any;
}

/** Status 200 unless it says otherwise; `error` is a case of `http-error` in the contract. */
export interface FakeAnswer {
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  text?: string;
  error?: { tag: string; val?: string | number };
}

// tidewire.d.ts -- the types of the JavaScript client. Times are milliseconds.

/** Bytes or a text, as a socket takes them. */
export type TidewireData = string | ArrayBuffer | ArrayBufferView | Blob;

/** How a value becomes a message, and a message a value. `decode` gets a text or an ArrayBuffer. */
export interface TidewireCodec<Out = any, In = any> {
  encode(value: Out): TidewireData;
  decode(data: any, kind: "text" | "binary"): In;
}

export interface TidewireOptions {
  /** As the endpoint's: "json" (the default), "text", "binary", or functions of one's own. */
  codec?: "json" | "text" | "binary" | TidewireCodec;
  /** Keep a session over lost sockets, on an endpoint with `resume`; a text is its secret. */
  session?: boolean | string;
  /** A token, or a function that makes one for each attempt; null or undefined: none. */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** Where the token goes: into the address as ?token= (the default), or to the subprotocols. */
  tokenIn?: "query" | "protocol";
  /** Subprotocols to offer. */
  protocols?: string[];
  /**
   * The time between pings of the JSON heartbeat; 25000. By default they begin when the server
   * has shown that it speaks it; with a number, at once. false: none.
   */
  heartbeat?: number | false;
  /** The longest time for an attempt, and for a sign of life after a ping; 10000. */
  timeout?: number;
  /** What `send` keeps at most: 10000 messages of 8 MiB together. */
  queue?: { messages?: number; bytes?: number };
  /** The longest first delay, 500, and the longest of all, 15000. */
  backoff?: { min?: number; max?: number };
  /** Close codes after which it does not come back, beside 1000, 1008 and 4400 to 4409. */
  finalCodes?: number[];
  /** false: only `connect()` connects. */
  connect?: boolean;
  /** A WebSocket, where there is no global one: the class of the package `ws` in Node before 22. */
  WebSocket?: any;
}

export type TidewireState = "connecting" | "open" | "waiting" | "closed";

export interface TidewireEnd {
  code: number;
  reason: string;
  wasClean: boolean;
  /** The time to the next attempt; only where there will be one. */
  delay?: number;
}

export interface TidewireClose extends TidewireEnd {
  /** Will it connect again by itself? */
  willReconnect: boolean;
}

export interface TidewireRequest<Data = any> {
  type?: string;
  data: Data;
}

export interface TidewireEvents {
  /** A message, but for heartbeats, requests and answers. */
  message: (value: any, kind: "text" | "binary") => void;
  /** Messages go out; each time. Is it the session of before? */
  open: (how: { resumed: boolean }) => void;
  state: (state: TidewireState, why?: TidewireEnd) => void;
  /** A socket has ended, or an attempt has failed. */
  close: (end: TidewireClose) => void;
  /** A session has begun, or was resumed. `lost`: sent in the old one, and perhaps not received. */
  session: (session: { resumed: boolean; lost: any[] }) => void;
  /** A message cannot be decoded, the token cannot be had, an answer failed. */
  error: (error: Error) => void;
  /** A request of the server that no function of `answer` takes. Returns the answer. */
  ask: (request: TidewireRequest) => any;
}

/** An error of `send` or `ask`: "closed", "full", "lost", "refused", "timeout", or the server's. */
export interface TidewireError extends Error {
  kind: string;
}

/** A WebSocket that comes back. */
export class Tidewire {
  /** Connects, unless the option `connect` is false. Throws for wrong options. */
  constructor(
    url: string | URL | (() => string | URL | Promise<string | URL>), options?: TidewireOptions);
  readonly state: TidewireState;
  /** The round trip of the last ping; null until there was one. */
  readonly latency: number | null;
  /** How many messages wait to be written or, in a session, to be acknowledged. */
  readonly queued: number;
  on<Name extends keyof TidewireEvents>(event: Name, handler: TidewireEvents[Name]): this;
  off<Name extends keyof TidewireEvents>(event: Name, handler: TidewireEvents[Name]): this;
  /** Connects now: after `disconnect`, after a final close, or before the delay is over. */
  connect(): this;
  /** Ends connection and session. What is not acknowledged is rejected. */
  disconnect(code?: number, reason?: string): void;
  /**
   * Sends a value, later where there is no connection. Fulfilled when the server has got it (in a
   * session) or when it is written; rejected with a TidewireError. May be ignored.
   */
  send(value: any): Promise<void>;
  /** Asks the server, and is fulfilled with its answer; rejected with a TidewireError. */
  ask<Answer = any>(type: string, data?: any, options?: { timeout?: number }): Promise<Answer>;
  /** The function that answers the server's requests of this type. Replaces the one before. */
  answer<Data = any>(type: string, handler: (data: Data) => any): this;
}

// client_types.mts -- uses each name of the JavaScript client's types, for tsc. Never run.

import {
  Tidewire, TidewireClose, TidewireCodec, TidewireError, TidewireOptions, TidewireState,
} from "../../clients/js/tidewire.js";
import Client from "../../clients/js/tidewire.mjs";
import "../../clients/js/tidewire.global.js";

const codec: TidewireCodec<number[], string> = {
  encode: (value) => new Uint8Array(value),
  decode: (data, kind) => `${kind} ${data}`,
};

const options: TidewireOptions = {
  codec, session: true, token: async () => "secret", tokenIn: "protocol", protocols: ["a"],
  heartbeat: false, timeout: 5000, queue: { messages: 10 }, backoff: { min: 1, max: 2 },
  finalCodes: [4001], connect: false, WebSocket: class {},
};

const client: Tidewire = new Tidewire(() => new URL("wss://example.com/"), options);
const other = new globalThis.Tidewire("/chat");
const third: Client = new Client("/chat", { session: "a secret of 16 characters" });

client
  .on("message", (value, kind) => { const text: string = kind + value; text.trim(); })
  .on("open", ({ resumed }) => { const is: boolean = resumed; return is; })
  .on("state", (state: TidewireState, why) => why?.delay?.toFixed() ?? state)
  .on("close", (end: TidewireClose) => end.willReconnect && end.code + end.reason.length)
  .on("session", ({ resumed, lost }) => resumed || lost.length)
  .on("error", (error) => error.message)
  .on("ask", ({ type, data }) => [type?.length, data])
  .answer<number>("double", (number) => number * 2)
  .connect();

async function use(): Promise<void> {
  const sent: void = await client.send([1, 2, 3]);
  const answer: string = await client.ask<string>("name", { id: 7 }, { timeout: 1000 });
  client.send(answer).catch((error: TidewireError) => error.kind);
  const latency: number | null = client.latency;
  const queued: number = client.queued;
  client.disconnect(4000, `${latency} ${queued} ${sent}`);
  other.disconnect();
  third.off("open", () => {});
}

// @ts-expect-error: there is no such codec
new Tidewire("/", { codec: "jason" });
// @ts-expect-error: there is no such option
new Tidewire("/", { codex: "json" });
// @ts-expect-error: there is no such event
client.on("opened", () => {});
// @ts-expect-error: the state is the client's own
client.state = "open";

use();

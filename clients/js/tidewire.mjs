// tidewire.mjs -- Tidewire's client for browsers and Node: a WebSocket that comes back.
//
// It connects again when the network or the server fails, notices links that are dead, sends later
// what could not be sent, and keeps a session over its sockets: each message arrives once and in
// order, in both directions (docs/clients.md has the form on the wire). One socket at a time is
// current; one that was left calls nothing. All times are milliseconds.
//
// This file is the source: scripts/make_client.lua makes tidewire.js, the classic script, and
// tidewire.min.mjs of it. So a comment has its own lines, a text and a template have one line, and
// no text has "#" before a letter.

// How a value becomes a message, and a message a value.
const same = (data) => data;
const codecs = {
  json: {
    encode: (value) => JSON.stringify(value),
    decode: (data, kind) => (kind === "text" ? JSON.parse(data) : data),
  },
  text: { encode: String, decode: same },
  binary: { encode: same, decode: same },
};

const defaults = {
  codec: "json", session: false, token: undefined, tokenIn: "query", protocols: [],
  heartbeat: undefined, timeout: 10000, queue: {}, backoff: {}, finalCodes: [], connect: true,
  WebSocket: undefined,
};

// A connection that held this long was a good one.
const STEADY = 2000;
// From a message to the question whether it has arrived.
const ACKNOWLEDGE = 500;
// What the server keeps for this client before it hears that it has arrived.
const MOST_MESSAGES = 32;
const MOST_BYTES = 16384;

const now = () => performance.now();
const call = (value) => (typeof value === "function" ? value() : value);
const problem = (kind, message = kind) => Object.assign(new Error(message), { kind });
const isId = (value) => Number.isInteger(value) && value > 0;
const hasOnly = (value, ...names) => Object.keys(value).every((name) => names.includes(name));
const listen = (way, handler) => {
  for (const name of ["online", "offline", "visibilitychange", "pagehide", "pageshow"]) {
    globalThis[way + "EventListener"]?.(name, handler);
  }
};

// The value of a text that may be a heartbeat or the message of a session, which are not counted.
const controlOf = (data) => {
  try {
    return typeof data === "string" && /"(p[io]ng|session)"/.test(data) && JSON.parse(data) || {};
  } catch {
    return {};
  }
};

// 192 random bits.
const newSecret = async () => {
  const crypto = globalThis.crypto
    ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:crypto")).webcrypto;
  return crypto.getRandomValues(new Uint8Array(24))
    .reduce((text, byte) => text + byte.toString(16).padStart(2, 0), "");
};

export class Tidewire {
  state = "closed";
  latency = null;
  #url;
  #options;
  #codec;
  #secret;
  #handlers = {};
  #answers = Object.create(null);
  #socket;
  #isOpen;
  #turn = 0;
  #openedAt;
  #failures;
  #timers = {};
  // Messages that were not written, or not acknowledged in this session: oldest first.
  #queue = [];
  #bytes = 0;
  // How many of them are written to this socket.
  #written = 0;
  // Counts of this session.
  #acknowledged = 0;
  #received = 0;
  // What the server has not heard to have arrived here.
  #untold = 0;
  #untoldBytes = 0;
  #pings = 0;
  #pingedAt;
  #asked = 0;
  #asks = new Map();

  constructor(url, options = {}) {
    for (const name in options) {
      if (!(name in defaults)) throw new TypeError(`no option "${name}"`);
    }
    const all = this.#options = { ...defaults, ...options };
    all.queue = { messages: 10000, bytes: 8 << 20, ...all.queue };
    all.backoff = { min: 500, max: 15000, ...all.backoff };
    all.WebSocket ??= globalThis.WebSocket;
    if (!all.WebSocket) throw new TypeError("pass the option WebSocket");
    this.#codec = codecs[all.codec] ?? all.codec;
    if (!this.#codec?.encode || !this.#codec.decode) throw new TypeError("no such codec");
    this.#url = url;
    if (typeof url !== "function") this.#address(url);
    if (all.connect) this.connect();
  }

  on(event, handler) {
    (this.#handlers[event] ??= new Set()).add(handler);
    return this;
  }

  off(event, handler) {
    this.#handlers[event]?.delete(handler);
    return this;
  }

  answer(type, handler) {
    this.#answers[type] = handler;
    return this;
  }

  // How many messages wait to be written or acknowledged.
  get queued() {
    return this.#queue.length;
  }

  connect() {
    if (this.state === "closed" || this.state === "waiting") {
      listen("add", this.#onPage);
      this.#hurry();
    }
    return this;
  }

  // For good, until connect(). What was not acknowledged is rejected.
  disconnect(code = 1000, reason = "") {
    if (this.state === "closed") return;
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) throw new TypeError("no such code");
    this.#drop(code, reason);
    this.#end({ code, reason, wasClean: true });
  }

  // The promise may be ignored: a rejection that nothing handles is no error.
  send(value) {
    return this.#push(value).promise;
  }

  ask(type, data, { timeout = 10000 } = {}) {
    const id = ++this.#asked;
    const item = this.#push({ type, ask: id, data });
    const promise = new Promise((resolve, reject) => {
      item.end = (error, result) => {
        clearTimeout(timer);
        this.#asks.delete(id);
        if (error) reject(error);
        else resolve(result);
      };
      const timer = setTimeout(item.end, timeout, problem("timeout"));
      this.#asks.set(id, item);
      item.promise.catch(item.end);
    });
    promise.catch(same);
    return promise;
  }

  // ---- connecting ----

  #address(url) {
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    return address;
  }

  #hurry() {
    this.#failures = 0;
    this.#attempt();
  }

  // An attempt that was left stops at its next step.
  async #attempt() {
    const { session, token, tokenIn, protocols, timeout, WebSocket } = this.#options;
    const turn = ++this.#turn;
    clearTimeout(this.#timers.retry);
    this.#expect(timeout, () => this.#lost(1006, "timeout"));
    this.#setState("connecting");
    try {
      const offers = [...protocols];
      const address = this.#address(await call(this.#url));
      const query = address.searchParams;
      const secret = await call(token);
      if (secret != null && tokenIn === "query") query.set("token", secret);
      else if (secret != null) offers.push(secret);
      if (session) {
        query.set("session", this.#secret ??= session === true ? await newSecret() : session);
        query.set("received", this.#received);
      }
      if (turn !== this.#turn) return;
      const socket = this.#socket = new WebSocket(address.href, offers);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => session || this.#opened(false);
      socket.onmessage = ({ data }) => this.#take(data);
      socket.onclose = ({ code, reason, wasClean }) => this.#lost(code, reason, wasClean);
      socket.onerror = same;
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    }
  }

  // What the event's functions do counts: they may end it.
  #fail(error) {
    const turn = this.#turn;
    this.#emit("error", error);
    if (turn === this.#turn) this.#lost(1006, error?.message);
  }

  #opened(resumed) {
    this.#isOpen = true;
    this.#openedAt = now();
    this.#expect();
    this.#flush();
    this.#setState("open");
    if (this.#isOpen) this.#emit("open", { resumed });
    if (this.#options.session || this.#options.heartbeat) this.#beat();
  }

  // Leaves the socket, without waiting for its end.
  #drop(code, reason) {
    const socket = this.#socket;
    this.#socket = this.#isOpen = undefined;
    this.#turn++;
    this.#written = 0;
    for (const name in this.#timers) clearTimeout(this.#timers[name]);
    this.#timers = {};
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code, reason);
    if (!this.#options.session) this.#failAsks("closed");
  }

  #lost(code, reason, wasClean = false) {
    const { backoff: { min, max }, finalCodes } = this.#options;
    const end = { code, reason, wasClean };
    if (this.#isOpen && now() - this.#openedAt > STEADY) this.#failures = 0;
    this.#drop();
    // 4409: another client has taken this one's place. The server's own 4408 is for a page that
    // slept.
    if (code === 1000 || code === 1008 || finalCodes.includes(code)
      || code >= 4400 && code <= 4409 && reason !== "timed out") return this.#end(end);
    const delay = (code === 1001 || code === 1012) && !this.#failures ? 0 : Math.random()
      * (globalThis.navigator?.onLine === false ? max : Math.min(max, min * 2 ** this.#failures));
    this.#failures++;
    this.#timers.retry = setTimeout(() => this.#attempt(), delay);
    this.state = "waiting";
    this.#emit("close", { ...end, delay, willReconnect: true });
    if (this.state === "waiting") this.#setState("waiting", { ...end, delay });
  }

  #end(end) {
    listen("remove", this.#onPage);
    this.#lose(() => true, "closed");
    this.#failAsks("closed");
    this.#secret = undefined;
    this.#acknowledged = this.#received = 0;
    this.state = "closed";
    this.#emit("close", { ...end, willReconnect: false });
    if (this.state === "closed") this.#setState("closed", end);
  }

  // What the browser tells of page and network. It may show a hidden page again: the session waits
  // for that. A page that ends, ends it.
  #onPage = ({ type, persisted }) => {
    if (type === "pagehide" && !persisted) {
      this.disconnect();
    } else if (type === "pagehide") {
      this.#drop();
      this.#setState("waiting");
    } else if (this.state !== "waiting") {
      this.#probe(this.#options.timeout / 3);
    } else if (type !== "offline" && (type !== "visibilitychange" || !document.hidden)) {
      this.#hurry();
    }
  };

  // ---- sending ----

  #push(value) {
    const item = { value };
    item.promise = new Promise((resolve, reject) => {
      item.resolve = resolve;
      item.reject = reject;
      this.#enqueue(item);
    });
    item.promise.catch(same);
    return item;
  }

  #enqueue(item) {
    const { queue, session } = this.#options;
    if (this.state === "closed") throw problem("closed");
    let data = this.#codec.encode(item.value);
    // A later change of the buffer must change nothing
    if (ArrayBuffer.isView(data)) {
      data = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    }
    item.data = data instanceof ArrayBuffer ? data.slice() : data;
    item.bytes = data.byteLength ?? data.size ?? new TextEncoder().encode(data).length;
    if (this.#isBeat(controlOf(data))) throw problem("refused");
    const bytes = this.#bytes + item.bytes + (!session && this.#socket?.bufferedAmount || 0);
    if (this.#queue.length >= queue.messages || bytes > queue.bytes) throw problem("full");
    this.#queue.push(item);
    this.#bytes += item.bytes;
    if (this.#isOpen) this.#flush();
  }

  // A socket that is closing would swallow what it gets.
  #flush() {
    while (this.#written < this.#queue.length && this.#socket.readyState === 1) {
      const item = this.#queue[this.#written++];
      item.isWritten = true;
      this.#socket.send(item.data);
    }
    if (!this.#options.session) this.#settle(Infinity);
    else if (this.#written) this.#timers.ask ??= setTimeout(() => this.#probe(), ACKNOWLEDGE);
  }

  // The server has got so many messages of this session.
  #settle(count) {
    while (this.#acknowledged + 1 <= count && this.#queue[0]?.isWritten) {
      const item = this.#queue.shift();
      this.#bytes -= item.bytes;
      this.#acknowledged++;
      if (this.#written) this.#written--;
      item.resolve();
    }
  }

  // Takes messages from the queue.
  #lose(isLost, kind) {
    const lost = this.#queue.filter(isLost);
    this.#queue = this.#queue.filter((item) => !isLost(item));
    for (const item of lost) {
      this.#bytes -= item.bytes;
      item.reject(problem(kind));
    }
    return lost.map(({ value }) => value);
  }

  #failAsks(kind) {
    for (const item of this.#asks.values()) {
      if (item.isWritten) item.end(problem(kind));
    }
  }

  // ---- receiving ----

  #isBeat({ type }) {
    return (type === "ping" || type === "pong")
      && (this.#options.session || this.#options.heartbeat !== false);
  }

  #take(data) {
    const kind = typeof data === "string" ? "text" : "binary";
    const control = controlOf(data);
    this.#expect();
    if (!this.#isOpen) return this.#greet(control);
    if (this.#isBeat(control)) return this.#takeBeat(control);
    this.#received++;
    this.#untold++;
    this.#untoldBytes += data.length ?? data.byteLength;
    if (this.#options.session
      && (this.#untold >= MOST_MESSAGES || this.#untoldBytes >= MOST_BYTES)) {
      this.#sendBeat({ type: "pong" });
    }
    let value;
    try {
      value = this.#codec.decode(data, kind);
    } catch (error) {
      return this.#emit("error", error);
    }
    const { ask, answer } = this.#options.codec === "json" && value || {};
    if (isId(ask) && hasOnly(value, "type", "ask", "data")) this.#reply(value);
    else if (isId(answer) && answer <= this.#asked && hasOnly(value, "answer", "data", "error")) {
      const { data: result, error } = value;
      this.#asks.get(answer)?.end(error && problem(error.kind, error.message), result);
    } else this.#emit("message", value, kind);
  }

  // The first message of a socket tells what the server has got of this session.
  #greet({ type, resumed, received }) {
    if (type !== "session") return this.#fail(problem("session", "no session"));
    let lost = [], unsent = [];
    if (resumed) {
      this.#settle(received);
    } else {
      this.#failAsks("lost");
      lost = this.#lose(({ isWritten }) => isWritten, "lost");
      this.#received = received = 0;
      unsent = this.#queue.splice(0);
    }
    this.#acknowledged = received;
    this.#untold = this.#untoldBytes = 0;
    const turn = this.#turn;
    this.#emit("session", { resumed, lost });
    // What the event's functions send again goes first. If they end it, the rest is rejected.
    this.#queue = [...this.#queue, ...unsent];
    if (turn === this.#turn) this.#opened(resumed);
    else this.#lose((item) => unsent.includes(item), "closed");
  }

  async #reply({ type, ask, data }) {
    const [other] = this.#handlers.ask ?? [];
    const handler = this.#answers[type] ?? (other && (() => other({ type, data })));
    const reply = { answer: ask };
    try {
      if (!handler) throw problem("unknown", `nothing answers ${type}`);
      reply.data = await handler(data);
      JSON.stringify(reply);
    } catch (error) {
      const { kind = "failed", message } = error ?? {};
      reply.data = undefined;
      reply.error = { kind, message: kind === "failed" ? kind : message };
      if (kind === "failed") this.#emit("error", error);
    }
    this.send(reply);
  }

  // ---- heartbeat ----

  // The server speaks it, so this client does.
  #beat() {
    const { heartbeat = 25000 } = this.#options;
    if (!this.#isOpen || this.#timers.beat || heartbeat === false) return;
    this.#timers.beat = setInterval(() => this.#probe(), heartbeat);
    this.#probe();
  }

  #sendBeat(beat) {
    if (this.#options.session) beat.received = this.#received;
    this.#untold = this.#untoldBytes = 0;
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(beat));
  }

  #takeBeat({ type, pingId, received }) {
    if (type === "ping") this.#sendBeat({ type: "pong", pingId });
    else if (pingId === this.#pings) this.latency = now() - this.#pingedAt;
    if (this.#options.session) {
      if (received <= this.#acknowledged + this.#written) this.#settle(received);
      this.#flush();
    }
    this.#beat();
  }

  // Anything must come by then; without a time, it has come.
  #expect(patience, otherwise) {
    clearTimeout(this.#timers.dead);
    this.#timers.dead = patience && setTimeout(otherwise, patience);
  }

  // Asks for a sign of life. Without a byte in time the link is dead, unless the page slept, or
  // bytes still go out.
  #probe(patience = this.#options.timeout) {
    const { session, timeout } = this.#options;
    const timers = this.#timers;
    timers.ask = undefined;
    if (!this.#isOpen || timers.dead && patience === timeout || !timers.beat && !session) return;
    const socket = this.#socket;
    const { bufferedAmount } = socket;
    const asked = this.#pingedAt = now();
    this.#sendBeat({ type: "ping", pingId: ++this.#pings });
    this.#expect(patience, () => {
      this.#expect();
      if (now() - asked > 2 * patience + 1000 || socket.bufferedAmount < bufferedAmount) {
        this.#probe(patience);
      } else this.#lost(1006, "no sign of life");
    });
  }

  // ---- events ----

  #setState(state, why) {
    this.state = state;
    this.#emit("state", state, why);
  }

  // An error in a handler is told as that of any callback, and stops nothing here.
  #emit(event, ...values) {
    for (const handler of this.#handlers[event] ?? []) {
      try {
        handler(...values);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

export default Tidewire;

// connection.js -- a WebSocket that reconnects.
//
// After the end of a connection it connects again: after half a second at first, then after twice
// as long each time, up to 15 seconds. It shortens each delay at random, so that not all clients
// reconnect at once. A close with 1001 (or 1012, from a proxy) announces a restart, so the delays
// start again from the shortest. When the server has been silent for a while, the client sends it a
// question. Without an answer it takes the connection for dead, which a browser notices only much
// later. A browser may keep a page that the user has left, with its socket, so the client closes
// the socket meanwhile. Knows no page.

const SHORTEST_DELAY = 500;
const LONGEST_DELAY = 15000;
const STEADY_AFTER = 5000; // a connection that held this long was a good one: delays begin anew
const SILENCE = 25000;
const PATIENCE = 6000;
const REPLACED = 4001;
const RESTARTS = [1001, 1012]; // going away, service restart

export class Connection {
  #makeUrl;
  #handlers;
  #socket = null;
  #attempts = 0;
  #retryTimer = 0;
  #steadyTimer = 0;
  #silenceTimer = 0;
  #isPutAway = false;

  // makeUrl() is asked before each attempt. handlers: onState(state, seconds, restarts), with
  // "connecting", "open", "waiting" (for so many seconds; did the server say that it restarts?) or
  // "taken" (over by another window); onMessage(value).
  constructor(makeUrl, handlers) {
    this.#makeUrl = makeUrl;
    this.#handlers = handlers;
    addEventListener("online", () => this.hurry());
    addEventListener("visibilitychange",
      () => document.visibilityState === "visible" && this.hurry());
    addEventListener("pagehide", () => {
      this.#isPutAway = this.#socket !== null || this.#retryTimer !== 0;
      this.close();
    });
    addEventListener("pageshow", (event) => event.persisted && this.#isPutAway && this.open());
  }

  get isOpen() {
    return this.#socket !== null && this.#socket.readyState === WebSocket.OPEN;
  }

  open() {
    this.#drop();
    this.#handlers.onState("connecting");
    const socket = new WebSocket(this.#makeUrl());
    this.#socket = socket;
    this.#expect(PATIENCE + LONGEST_DELAY, () => this.#lost());
    socket.onopen = () => {
      this.#steadyTimer = setTimeout(() => { this.#attempts = 0; }, STEADY_AFTER);
      this.#listen();
      this.#handlers.onState("open");
    };
    socket.onmessage = (event) => {
      this.#listen();
      this.#handlers.onMessage(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (event.code !== REPLACED) return this.#lost(RESTARTS.includes(event.code));
      this.#drop();
      this.#handlers.onState("taken");
    };
  }

  // Ends it for good, until open().
  close() {
    this.#attempts = 0;
    this.#drop();
  }

  // False if it could not be sent.
  send(value) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(value));
    return true;
  }

  // Now is a good moment: to try again, or to see whether the connection is alive.
  hurry() {
    if (this.#retryTimer) {
      this.open();
    } else if (this.isOpen) {
      this.#probe();
    }
  }

  #lost(restarts = false) {
    this.#drop();
    if (restarts) this.#attempts = 0;
    const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** this.#attempts);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.#retryTimer = setTimeout(() => this.open(), delay);
    this.#handlers.onState("waiting", delay / 1000, restarts);
  }

  // A message came: the next ping follows after a silence.
  #listen() {
    this.#expect(SILENCE, () => this.#probe());
  }

  #probe() {
    this.send({ type: "server_stats" });
    this.#expect(PATIENCE, () => this.#lost());
  }

  #expect(milliseconds, otherwise) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(otherwise, milliseconds);
  }

  // Forgets the socket and all timers. A forgotten socket calls no handler.
  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#steadyTimer);
    clearTimeout(this.#silenceTimer);
    this.#retryTimer = 0;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
  }
}

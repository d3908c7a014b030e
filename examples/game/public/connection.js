// connection.js -- a WebSocket to a match, which reconnects.
//
// The close code decides. After a shutdown or restart of the server (1001, 1012) and a failed
// network (1006) the client connects again: after half a second at first and after twice as long
// each time, up to 10 seconds, shortened at random so that not all clients reconnect at once. After
// a refusal (1008: policy; 1013: the match is full) it does not connect again, and passes on the
// reason. States arrive all the time, so it takes a connection that is silent for a few seconds for
// dead. A browser may keep a page that the user has left, with its socket, so the client closes the
// socket meanwhile, and the match has a free place. Knows no page and no game.

const SHORTEST_DELAY = 500;
const LONGEST_DELAY = 10000;
const STEADY_AFTER = 5000; // a connection that held this long was a good one: delays begin anew
const SILENCE = 5000;
const HANDSHAKE = 8000;    // all of these are milliseconds

const FINAL = new Set([1000, 1008, 1013]);

const REASONS = {
  1001: "The server is going away.",
  1006: "The connection is lost.",
  1008: "The server has closed the connection",
  1011: "Something went wrong on the server.",
  1012: "The server starts again.",
  1013: "There is no place for you",
  4408: "The server has received nothing from here for too long.",
};

// A close code as a sentence, with the server's own words where it gave some.
export function explain(code, reason) {
  const words = REASONS[code] ?? `The connection has ended (${code}).`;
  return words.endsWith(".") ? words : words + (reason ? `: ${reason}.` : ".");
}

export class Connection {
  #url = null;
  #handlers;
  #socket = null;
  #attempts = 0;
  #retryTimer = 0;
  #steadyTimer = 0;
  #silenceTimer = 0;
  #isPutAway = false;

  // handlers: onMessage(value); onState(state, why, seconds), with "connecting", "open", "waiting"
  // (for so many seconds) or "ended" (for good: ask the person), and `why` as explain() has it, a
  // code before it.
  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener("online", () => this.#retryTimer && this.open(this.#url));
    addEventListener("pagehide", () => {
      this.#isPutAway = this.#socket !== null || this.#retryTimer !== 0;
      this.close();
    });
    addEventListener("pageshow",
      (event) => event.persisted && this.#isPutAway && this.open(this.#url));
  }

  get isOpen() {
    return this.#socket !== null && this.#socket.readyState === WebSocket.OPEN;
  }

  open(url) {
    this.#drop();
    this.#url = url;
    this.#handlers.onState("connecting");
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#expect(HANDSHAKE);
    socket.onopen = () => {
      this.#steadyTimer = setTimeout(() => { this.#attempts = 0; }, STEADY_AFTER);
      this.#expect(SILENCE);
      this.#handlers.onState("open");
    };
    socket.onmessage = (event) => {
      this.#expect(SILENCE);
      this.#handlers.onMessage(JSON.parse(event.data));
    };
    socket.onclose = (event) => this.#ended(event.code, event.reason);
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

  #ended(code, reason) {
    this.#drop();
    const why = explain(code, reason);
    if (FINAL.has(code)) {
      this.#handlers.onState("ended", why);
      return;
    }
    const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** this.#attempts);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.#retryTimer = setTimeout(() => this.open(this.#url), delay);
    this.#handlers.onState("waiting", why, delay / 1000);
  }

  // A message must have come by then.
  #expect(milliseconds) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#ended(1006, ""), milliseconds);
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

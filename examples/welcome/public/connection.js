// connection.js -- a WebSocket that reconnects: after half a second, and after longer each time it
// fails.
//
// A browser may keep a page that the user has left, with its socket, so the client closes the
// socket meanwhile. Knows no page.

const SHORTEST_DELAY = 500;
const LONGEST_DELAY = 8000; // milliseconds

export class Connection {
  #url;
  #handlers;
  #socket = null;
  #attempts = 0;
  #timer = 0;

  // handlers: onMessage(text), onState("connecting" | "open" | "waiting", code, reason) with the
  // code of a close.
  constructor(path, handlers) {
    this.#url = new URL(path, location.href);
    this.#url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#handlers = handlers;
    addEventListener("pagehide", () => this.#drop());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    addEventListener("online", () => this.#timer && this.open());
  }

  get url() {
    return this.#url.href;
  }

  open() {
    this.#drop();
    this.#handlers.onState("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempts = 0;
      this.#handlers.onState("open");
    };
    socket.onmessage = (event) => this.#handlers.onMessage(event.data);
    socket.onclose = (event) => {
      this.#drop();
      const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** this.#attempts);
      this.#attempts += 1;
      this.#timer = setTimeout(() => this.open(), longest * (0.5 + Math.random() / 2));
      this.#handlers.onState("waiting", event.code, event.reason);
    };
  }

  // False if it could not be sent.
  send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }
}

// app.js: connects the page to /ws, shows the messages that come, sends the text that is typed.
//
// It connects again after a connection has ended: after half a second, then after longer and longer
// delays. A browser may keep a page that the user has left, so the page closes its socket
// meanwhile.

const SHORTEST_DELAY = 500;
const LONGEST_DELAY = 10000; // milliseconds

const byId = (id) => document.getElementById(id);
let socket = null;
let attempts = 0;
let timer = 0;

function show(text, kind = "") {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = kind;
  byId("log").append(item);
  byId("scroller").scrollTop = byId("scroller").scrollHeight;
}

function setState(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
  byId("send").disabled = state !== "open";
}

// The messages of handlers/hello.lua, by their type.
const handlers = {
  welcome: (message) => show(message.text),
  echo: (message) => show(`${message.count}: ${message.message}`),
  error: (message) => show(message.text, "note"),
  reloaded: (message) => show(`New code was activated: generation ${message.generation}.`, "note"),
};

function connect() {
  disconnect();
  setState("connecting", "connecting…");
  socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/ws`);
  socket.onopen = () => {
    attempts = 0;
    setState("open", "connected");
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    handlers[message.type]?.(message);
  };
  socket.onclose = (event) => {
    setState("waiting", `closed (${event.code}), trying again…`);
    const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** attempts);
    attempts += 1;
    timer = setTimeout(connect, longest * (0.5 + Math.random() / 2));
  };
}

function disconnect() {
  clearTimeout(timer);
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close(1000);
  socket = null;
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value;
  if (text === "" || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify(text));
  show(text, "own");
  byId("text").value = "";
  byId("text").focus();
});

addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => event.persisted && connect());

connect();
if (matchMedia("(min-width: 46rem)").matches) byId("text").focus();

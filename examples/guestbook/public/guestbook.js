// guestbook.js -- the guestbook's page: shows messages, newest first, and sends the form.
//
// What the form has stays there until the server says that it is written. A message may come twice
// (as a new one and on a page of older ones): its id tells.

const SHORTEST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 10000;

const byId = (id) => document.getElementById(id);
const shown = new Map(); // id -> its element of the list
let socket = null;
let attempts = 0;

function setState(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
  byId("write").disabled = state !== "open";
}

function makeElement(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function show(message) {
  if (shown.has(message.id)) return;
  const item = document.createElement("li");
  const time = makeElement("time", new Date(message.time * 1000).toLocaleString());
  time.dateTime = new Date(message.time * 1000).toISOString();
  item.append(makeElement("bdi", message.name), time, makeElement("p", message.text));
  const next = [...shown.keys()].filter((id) => id < message.id).sort((a, b) => b - a)[0];
  byId("messages").insertBefore(item, shown.get(next) ?? null);
  shown.set(message.id, item);
}

function showPage(page) {
  for (const message of page.messages) show(message);
  byId("older").hidden = !page.more;
}

const onMessage = {
  newest: showPage,
  older: showPage,
  message: ({ message }) => show(message),
  written: () => {
    byId("text").value = "";
    byId("problem").textContent = "";
  },
  error: ({ error }) => { byId("problem").textContent = error; },
};

function send(message) {
  socket.send(JSON.stringify(message));
}

function connect() {
  const url = new URL("book", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.onopen = () => setState("open", "live");
  socket.onmessage = (event) => {
    attempts = 0;
    const message = JSON.parse(event.data);
    onMessage[message.type]?.(message);
  };
  socket.onclose = () => {
    setState("waiting", "no connection");
    const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** attempts);
    attempts += 1;
    setTimeout(connect, longest * (0.5 + Math.random() / 2));
  };
}

byId("form").onsubmit = (event) => {
  event.preventDefault();
  byId("problem").textContent = "";
  send({ type: "write", name: byId("name").value, text: byId("text").value });
};
byId("older").onclick = () => send({ type: "older", before: Math.min(...shown.keys()) });

connect();

// app.js: connects the page to /ws, shows the messages that come, sends the text that is typed.
//
// The client of Tidewire, which the server sends (app.lua: client = true), connects again after a
// connection has ended, and sends later what cannot be sent now.

import { Tidewire } from "/tidewire.mjs";

const byId = (id) => document.getElementById(id);
const client = new Tidewire("/ws");

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

client.on("message", (message) => handlers[message.type]?.(message));

client.on("state", (state, why) => {
  if (state === "connecting") setState(state, "connecting…");
  else if (state === "open") setState(state, "connected");
  else if (state === "waiting") setState(state, `closed (${why?.code ?? ""}), trying again…`);
  else setState(state, `closed (${why.code})`);
});

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value;
  if (text === "" || client.state !== "open") return;
  client.send(text);
  show(text, "own");
  byId("text").value = "";
  byId("text").focus();
});

if (matchMedia("(min-width: 46rem)").matches) byId("text").focus();

// game.js -- the game's page: the way from the lobby into a match, and the panels around the arena.
//
// Messages of the server change an Arena (arena.js), which draw.js draws at the screen's rate.
// Input of controls.js goes to the server at most once a tick, and only when it has changed.
// Tidewire's client keeps the session, and with it the player's place, while the network is away
// for some seconds. sessionStorage has name and match, so a page that is loaded again goes on.

import { Tidewire } from "/tidewire.mjs";
import { Arena } from "./arena.js";
import { Controls } from "./controls.js";
import { Painter } from "./draw.js";
import { Lobby } from "./lobby.js";

const STEER_EVERY = 50;    // all of these are milliseconds
const SCORES_EVERY = 250;
const FEED_LASTS = 6000;
const SIGN_OF_LIFE = 2000;
const MOST_SCORES = 8;
const MOST_FEED = 5;

const FULL = 1013;
const REASONS = {
  1001: "The server is going away.",
  1006: "The connection is lost.",
  1008: "The server has closed the connection",
  1011: "Something went wrong on the server.",
  1012: "The server starts again.",
  [FULL]: "There is no place for you",
};

const byId = (id) => document.getElementById(id);
export const painter = new Painter(byId("canvas"));
const controls = new Controls(byId("canvas"), byId("stick"), byId("fire"), placeOfMe);
const client = new Tidewire(makeUrl, {
  session: true, connect: false, finalCodes: [FULL], backoff: { max: 10000 },
  heartbeat: SIGN_OF_LIFE, timeout: 2 * SIGN_OF_LIFE,
}).on("state", onState).on("message", onMessage);
const lobby = new Lobby(play);

let me = null;             // { match, name } while in a match
let steered = "";          // what was sent last
export const game = { arena: null }; // what is shown; null before the first welcome

function placeOfMe() {
  return painter.placeOf(game.arena?.me ?? painter);
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// ---- the two screens ----

function play(match, name) {
  me = { match, name };
  sessionStorage.setItem("game", JSON.stringify(me));
  lobby.hide();
  byId("game").hidden = false;
  byId("match").textContent = match;
  byId("feed").replaceChildren();
  document.title = `${match} · Gliders`;
  controls.rest();
  controls.isOn = true;
  client.connect();
}

function leave(why = "") {
  client.disconnect();
  sessionStorage.removeItem("game");
  me = game.arena = null;
  controls.isOn = false;
  byId("game").hidden = true;
  setBanner("");
  lobby.show(why);
}

function makeUrl() {
  const url = new URL(`game/${encodeURIComponent(me.match)}`, location.href);
  url.search = new URLSearchParams({ name: me.name });
  return url;
}

byId("leave").addEventListener("click", () => leave());

// ---- the connection ----

function setBanner(words, button, action) {
  byId("banner").hidden = words === "";
  byId("banner-text").textContent = words;
  byId("banner-button").textContent = button ?? "";
  byId("banner-button").onclick = action ?? null;
}

// A close code as a sentence, with the server's own words where it gave some.
function explain({ code, reason }) {
  const words = REASONS[code] ?? `The connection has ended (${code}).`;
  return words.endsWith(".") ? words : words + (reason ? `: ${reason}.` : ".");
}

function onState(state, why) {
  if (state === "closed" && why.code === 1000) return; // the page itself has closed it
  if (state === "waiting" && !why) return; // the page is left, and kept by the browser
  const words = {
    connecting: "connecting…", open: "connected", waiting: "reconnecting…", closed: "closed",
  };
  byId("state").textContent = words[state];
  byId("state").dataset.state = state === "closed" ? "ended" : state;
  if (state === "open") {
    setBanner("");
  } else if (state === "waiting") {
    const seconds = Math.round(why.delay / 1000);
    const when = seconds < 2 ? "in a second" : `in ${seconds} seconds`;
    setBanner(`${explain(why)} Trying again ${when}.`, "Try now", () => client.connect());
  } else if (state === "closed" && game.arena) {
    setBanner(explain(why), "Back to the lobby", () => leave());
  } else if (state === "closed") {
    leave(explain(why));
  }
}

// Where the browser keeps the page for the way back, the match has a free place meanwhile.
addEventListener("pagehide", () => client.disconnect());
addEventListener("pageshow", (event) => event.persisted && me && client.connect());

const handlers = {
  welcome(message, now) {
    game.arena = new Arena(message, now, onHappened);
    steered = "";
    setBanner("");
    showScores();
  },

  joined({ player }) {
    game.arena.join(player);
    tell(player, "joins");
  },

  left({ id }) {
    const player = game.arena.players.get(id);
    if (player) tell(player, "leaves");
    game.arena.leave(id);
  },

  state(message, now) {
    game.arena.takeState(message.tick, message.players, now);
  },

  events(message) {
    game.arena.takeEvents(message.tick, message.events);
  },

  error(message) {
    console.error(`the server says: ${message.error}`);
  },
};

function onMessage(message) {
  const now = performance.now();
  if (!game.arena && message.type !== "welcome") return;
  handlers[message.type]?.(message, now);
  game.arena.advance(now); // a page that is hidden draws nothing, and still must keep up
}

// What cannot be sent is sent later: it is compared with what was.
setInterval(() => {
  if (!game.arena) return;
  const wanted = controls.wanted;
  const text = JSON.stringify(wanted);
  if (text === steered || client.state !== "open") return;
  client.send({ type: "steer", ...wanted });
  steered = text;
}, STEER_EVERY);

// ---- what stands around the arena ----

function nameOf(player) {
  return element("bdi", "", player.id === game.arena.you ? "you" : player.name);
}

function tell(player, words, other) {
  const line = element("li", "");
  line.append(nameOf(player), ` ${words}`);
  if (other) line.append(" ", nameOf(other));
  const feed = byId("feed");
  feed.append(line);
  while (feed.children.length > MOST_FEED) feed.firstElementChild.remove();
  setTimeout(() => line.remove(), FEED_LASTS);
}

function onHappened(kind, one, other) {
  const now = performance.now();
  if (!one || !game.arena) return;
  if (kind === "hit") {
    painter.show("spark", one, now);
  } else if (kind === "out") {
    painter.show("ring", one, now);
    if (one === game.arena.me) tell(one, "are put out by", other);
    else if (other === game.arena.me) tell(other, "put out", one);
  } else if (kind === "ate" && other === game.arena.me) {
    painter.show("spark", one, now);
  }
}

function scoreRow(player, place) {
  const row = element("li", player.isBot ? "bot" : "");
  const dot = element("span", "dot");
  dot.style.setProperty("--hue", player.hue);
  row.append(element("span", "place", place), dot, element("bdi", "", player.name),
    element("b", "", player.points));
  if (player.id === game.arena.you) row.classList.add("me");
  return row;
}

function showScores() {
  const { arena } = game;
  if (!arena?.me) return;
  const players = [...arena.players.values()]
    .sort((one, two) => two.points - one.points || one.id - two.id);
  const rows = players.slice(0, MOST_SCORES).map((player, index) => scoreRow(player, index + 1));
  const mine = players.indexOf(arena.me);
  if (mine >= MOST_SCORES) rows.push(scoreRow(arena.me, mine + 1));
  byId("scores").replaceChildren(...rows);
  const people = players.filter((player) => !player.isBot).length;
  byId("crowd").textContent = people === 1 ? "only you, and bots" : `${people} people`;
  if (people === 1 && players.length === 1) byId("crowd").textContent = "only you";
  const { points, shields } = arena.me;
  byId("points").textContent = points;
  byId("shields").replaceChildren(...Array.from({ length: arena.shields },
    (_, part) => element("i", part < shields ? "whole" : "")));
  byId("shields").ariaLabel = `Shields: ${Math.min(shields, arena.shields)} of ${arena.shields}`;
  byId("out").hidden = shields !== 0;
}

setInterval(showScores, SCORES_EVERY);

function draw() {
  requestAnimationFrame(draw);
  if (!game.arena) return;
  const now = performance.now();
  painter.draw(game.arena, game.arena.advance(now), now);
}

// ---- the beginning ----

try {
  const before = JSON.parse(sessionStorage.getItem("game"));
  if (before) play(before.match, before.name);
  else lobby.show();
} catch {
  lobby.show();
}
draw();

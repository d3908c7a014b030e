// chat.js -- the chat's page: the user, the current room, its other users, and their messages.
//
// The server decides: each welcome, room_joined, user_list and history replaces the state of the
// page. Tidewire's client keeps the session while the network is away, so nothing is lost and
// nothing comes twice. Where the session has ended (the server was started again), the page sends
// its own messages again that the server has not confirmed; each has an id, so the server never
// sends it twice. sessionStorage has name, room and ticket, so a page that is loaded again replaces
// its old connection. log.js shows messages.

import { Tidewire } from "/tidewire.mjs";
import { Log, element, paintAvatar } from "./log.js";

const TYPING_AGAIN = 3000;   // while I write, the others get a notice this often
const TYPING_IDLE = 4000;    // without a key for this long, I do not write any more
const TYPING_EXPIRES = 6000; // another's notice that is not repeated is over
const REJOIN = 30000;        // after a reconnect, the others are expected back for this long
const STATS_SOON = 5000;     // after something has happened; all of these are milliseconds
const REPLACED = 4001;       // the close code: this chat goes on in another window
const NAME = /^[\p{L}\p{M}\p{N}_.-]+$/u;

const byId = (id) => document.getElementById(id);
const log = new Log(byId("log"), byId("scroller"), byId("newest"));
const client = new Tidewire(makeUrl, { session: true, connect: false, finalCodes: [REPLACED] })
  .on("state", onState).on("open", onOpen).on("message", onMessage);
const narrow = matchMedia("(max-width: 45rem)");

const me = { name: "", room: "", ticket: "", rooms: ["general"] };
let users = new Set();
// People that were here before the connection was lost. When they join again, it is no news.
let expected = new Set();
let waiting = [];           // my messages that are not confirmed: { id, message, room, isSent }
let lost = null;            // why there is no connection: what the banner begins with
let shownRoom = null;
let unread = 0;
let saidTyping = 0;         // when I last told that I write; 0: they think that I do not
let idleTimer = 0;
let statsTimer = 0;
const typists = new Map();  // name -> the timer that ends the notice

function randomToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---- my name, room and ticket ----

function remember() {
  sessionStorage.setItem("chat", JSON.stringify(me));
  localStorage.setItem("chat-name", me.name);
}

function recall() {
  byId("name").value = localStorage.getItem("chat-name") ?? "";
  try {
    Object.assign(me, JSON.parse(sessionStorage.getItem("chat")));
  } catch {
    sessionStorage.removeItem("chat");
  }
  return me.ticket !== "";
}

function makeUrl() {
  const url = new URL("chat", location.href);
  url.search = new URLSearchParams({ username: me.name, room: me.room, ticket: me.ticket });
  return url;
}

function problemWith(what, name) {
  return NAME.test(name) ? "" : `A ${what} has letters, digits, “_”, “-” and “.”, and no blanks.`;
}

// ---- the two screens ----

function showJoin() {
  byId("chat").hidden = true;
  byId("join").hidden = false;
  document.title = "Chat";
  byId("name").focus();
}

function showChat() {
  byId("join").hidden = true;
  byId("chat").hidden = false;
  setMenu(false);
  client.connect();
  if (!narrow.matches) byId("text").focus();
}

byId("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim();
  const room = byId("first-room").value.trim() || "general";
  const problem = (name && problemWith("name", name)) || problemWith("room", room);
  byId("join-error").textContent = problem;
  if (problem) return;
  Object.assign(me, { name, room, ticket: randomToken() });
  showChat();
});

byId("leave").addEventListener("click", () => {
  client.disconnect();
  sessionStorage.removeItem("chat");
  me.ticket = "";
  waiting = [];
  shownRoom = null;
  expected.clear();
  showJoin();
});

// ---- the side: rooms and people ----

// On a narrow screen the side lies over the room, and is out of reach while it is closed.
function setMenu(open) {
  const over = narrow.matches;
  byId("chat").classList.toggle("menu-open", open && over);
  byId("menu").ariaExpanded = String(open && over);
  byId("side").inert = over && !open;
  if (open && over) byId("leave").focus();
}

byId("menu").addEventListener("click", () => setMenu(true));
byId("shade").addEventListener("click", () => setMenu(false));
narrow.addEventListener("change", () => setMenu(false));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !byId("chat").classList.contains("menu-open")) return;
  setMenu(false);
  byId("menu").focus();
});

function goTo(room) {
  setMenu(false);
  if (room === me.room) return;
  if (!send({ type: "join_room", room })) {
    byId("room-error").textContent = "There is no connection now.";
  }
}

byId("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = byId("room-name").value.trim();
  byId("room-error").textContent = problemWith("room", room);
  if (byId("room-error").textContent) return;
  byId("room-name").value = "";
  goTo(room);
});

function showRooms() {
  byId("rooms").replaceChildren(...me.rooms.map((room) => {
    const button = element("button", "plain");
    const hash = element("span", "hash", "#");
    hash.ariaHidden = "true";
    button.append(hash, element("bdi", "", room));
    if (room === me.room) button.ariaCurrent = "true";
    button.addEventListener("click", () => goTo(room));
    const item = element("li");
    item.append(button);
    return item;
  }));
}

function showPeople() {
  const names = [...users].sort((one, other) => one.localeCompare(other));
  byId("people").replaceChildren(...names.map((name) => {
    const item = element("li");
    const avatar = element("span", "avatar");
    avatar.ariaHidden = "true";
    paintAvatar(avatar, name);
    item.append(avatar, element("bdi", "", name));
    if (name === me.name) item.append(element("span", "quiet", "you"));
    return item;
  }));
  byId("people-count").textContent = names.length;
  byId("here").textContent = names.length === 1 ? "only you" : `${names.length} people`;
}

function showTitle() {
  document.title = (unread > 0 ? `(${unread}) ` : "") + `#${me.room} · Chat`;
}

addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  if (shownRoom !== null) showTitle();
});

// ---- typing ----

function setTyping(name, typing) {
  clearTimeout(typists.get(name));
  typists.delete(name);
  if (typing) typists.set(name, setTimeout(() => setTyping(name, false), TYPING_EXPIRES));
  const names = [...typists.keys()];
  const line = byId("typing");
  line.classList.toggle("active", names.length > 0);
  line.replaceChildren();
  if (names.length > 2) {
    line.append("Several people are typing");
  } else if (names.length > 0) {
    line.append(element("bdi", "", names[0]));
    if (names.length === 2) line.append(" and ", element("bdi", "", names[1]));
    line.append(names.length === 2 ? " are typing" : " is typing");
  }
}

function sayTyping(typing) {
  clearTimeout(idleTimer);
  if (typing) idleTimer = setTimeout(() => sayTyping(false), TYPING_IDLE);
  const now = performance.now();
  if (typing ? saidTyping !== 0 && now - saidTyping < TYPING_AGAIN : saidTyping === 0) return;
  saidTyping = typing ? now : 0;
  send({ type: "typing", typing });
}

function clearTyping() {
  clearTimeout(idleTimer);
  saidTyping = 0;
  for (const name of [...typists.keys()]) setTyping(name, false);
}

// ---- writing ----

const text = byId("text");

function fitText() {
  text.style.height = "auto";
  text.style.height = text.scrollHeight + "px";
}

text.addEventListener("input", () => {
  fitText();
  sayTyping(text.value.trim() !== "");
});

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  // Half of a surrogate pair, which a length limit can leave, is no text that can be sent.
  const message = text.value.trim().replace(/\p{Surrogate}/gu, "\ufffd");
  if (message === "" || shownRoom === null) return;
  const entry = { id: randomToken(), message, room: shownRoom, isSent: false };
  waiting.push(entry);
  log.add({ ...entry, username: me.name, timestamp: Date.now() / 1000 },
    { own: true, waiting: true });
  sendEntry(entry);
  clearTimeout(idleTimer);
  saidTyping = 0; // the message itself says that I have written
  text.value = "";
  fitText();
  text.focus();
});

function sendEntry(entry) {
  entry.isSent = send({ type: "chat", id: entry.id, message: entry.message });
}

// In a new session: once more what was not confirmed. What was meant for another room stays unsaid.
function sendWaiting() {
  const again = waiting;
  waiting = again.filter((entry) => entry.room === me.room);
  for (const entry of again) {
    if (entry.room === me.room) sendEntry(entry);
    else log.fail(entry.id, me.name);
  }
}

// ---- the connection ----

// Returns whether it was sent: only while there is a connection.
function send(value) {
  if (client.state !== "open") return false;
  client.send(value);
  return true;
}

function setBanner(words, button) {
  byId("banner").hidden = !words;
  byId("banner-text").textContent = words ?? "";
  byId("banner-button").textContent = button ?? "";
}

byId("banner-button").addEventListener("click", () => client.connect());

function onState(state, why) {
  const words = { connecting: "connecting…", open: "connected", waiting: "reconnecting…" };
  const isTaken = state === "closed" && why.code === REPLACED;
  byId("state").textContent = isTaken ? "elsewhere"
    : lost && state !== "open" ? words.waiting : words[state] ?? "offline";
  byId("state").dataset.state = isTaken ? "taken" : state;
  if (state === "waiting") {
    clearTyping();
    for (const name of users) expected.add(name);
    if (why.code === 1001 || why.code === 1012) lost = "The server is being restarted.";
    lost ??= "The connection is lost.";
    const seconds = Math.round(why.delay / 1000);
    const when = seconds < 2 ? "in a second" : `in ${seconds} seconds`;
    setBanner(`${lost} Reconnecting ${when}. What you write is sent then.`, "Try now");
  } else if (isTaken) {
    setBanner("This chat goes on in another window.", "Use it here");
  } else if (state === "closed" && why.code !== 1000) {
    setBanner(`The server has closed the connection: ${why.reason || why.code}.`, "Try again");
  } else if (state === "open") {
    lost = null;
    setBanner();
  }
}

// In the session of before all is as it was. In a new one the server says welcome.
function onOpen({ resumed }) {
  if (!resumed) return;
  expected.clear();
  for (const entry of waiting) if (!entry.isSent) sendEntry(entry);
}

// Where the browser keeps the page for the way back, the user is not here meanwhile.
let isPutAway = false;
addEventListener("pagehide", () => {
  isPutAway = client.state !== "closed";
  client.disconnect();
});
addEventListener("pageshow", (event) => event.persisted && isPutAway && client.connect());

// ---- what the server says ----

function onEntered(message) {
  me.name = message.username;
  me.room = message.room;
  if (!me.rooms.includes(me.room)) me.rooms.push(me.room);
  remember();
  if (shownRoom !== me.room) {
    log.clear();
    clearTyping();
    expected.clear();
    shownRoom = me.room;
  }
  byId("my-name").textContent = me.name;
  paintAvatar(byId("my-avatar"), me.name);
  byId("room").textContent = me.room;
  byId("room-error").textContent = "";
  showRooms();
  showTitle();
  send({ type: "list_users" });
  send({ type: "server_stats" });
}

// Figures are asked for a moment after something has happened, and for all that happens meanwhile.
function askForStats() {
  statsTimer ||= setTimeout(() => {
    statsTimer = 0;
    send({ type: "server_stats" });
  }, STATS_SOON);
}

const handlers = {
  welcome(message) {
    const wanted = me.name;
    const isRenamed = wanted !== "" && wanted !== message.username;
    if (isRenamed) {
      for (const entry of waiting) log.fail(entry.id, wanted);
      waiting = [];
    }
    onEntered(message);
    if (isRenamed) log.notice(me.name, `is your name here, because “${wanted}” is taken`);
    sendWaiting();
    setTimeout(() => expected.clear(), REJOIN);
  },

  room_joined(message) {
    onEntered(message);
  },

  history(message) {
    log.addHistory(message.messages, me.name);
  },

  chat(message) {
    setTyping(message.username, false);
    if (!log.add(message) || !document.hidden) return;
    unread += 1;
    showTitle();
  },

  delivered(message) {
    waiting = waiting.filter((entry) => entry.id !== message.id);
    log.confirm(message.id, me.name, message.timestamp);
  },

  user_joined(message) {
    users.add(message.username);
    showPeople();
    if (!expected.delete(message.username)) log.notice(message.username, "joined");
  },

  user_left(message) {
    users.delete(message.username);
    setTyping(message.username, false);
    showPeople();
    log.notice(message.username, "left");
  },

  user_list(message) {
    users = new Set(message.users);
    for (const name of users) expected.delete(name);
    showPeople();
  },

  typing(message) {
    setTyping(message.username, message.typing);
  },

  server_stats(message) {
    const count = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;
    byId("stats").textContent = `On this server: ${count(message.total_clients, "client")}, `
      + `${count(message.total_rooms, "room")}, ${count(message.total_messages, "message")}.`;
  },

  error(message) {
    byId("room-error").textContent = message.error;
    setMenu(true); // it may be hidden
  },
};

function onMessage(message) {
  handlers[message.type]?.(message);
  if (["chat", "delivered", "user_joined", "user_left"].includes(message.type)) askForStats();
}

if (recall()) showChat();
else showJoin();

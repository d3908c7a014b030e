// chat.js -- the chat's page: the user, the current room, its other users, and their messages.
//
// The server decides: each welcome, room_joined, user_list and history replaces the state of the
// page. The page shows the user's own message at once as waiting, and sends it again after a
// reconnect until the server has confirmed it. The message has an id, so the server never sends it
// twice. sessionStorage has name, room and session, so a page that is loaded again replaces its old
// connection. connection.js connects, log.js shows messages.

import { Connection } from "./connection.js";
import { Log, element, paintAvatar } from "./log.js";

const TYPING_AGAIN = 3000;   // while I write, the others get a notice this often
const TYPING_IDLE = 4000;    // without a key for this long, I do not write any more
const TYPING_EXPIRES = 6000; // another's notice that is not repeated is over
const REJOIN = 30000;        // after a reconnect, the others are expected back for this long
const STATS_SOON = 5000;     // after something has happened; all of these are milliseconds
const NAME = /^[\p{L}\p{M}\p{N}_.-]+$/u;

const byId = (id) => document.getElementById(id);
const log = new Log(byId("log"), byId("scroller"), byId("newest"));
const connection = new Connection(makeUrl, { onState, onMessage });
const narrow = matchMedia("(max-width: 45rem)");

const me = { name: "", room: "", session: "", rooms: ["general"] };
let users = new Set();
// People that were here before the connection was lost. When they join again, it is no news.
let expected = new Set();
let waiting = [];           // my messages that are not confirmed: { id, message, room }
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

// ---- my name, room and session ----

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
  return me.session !== "";
}

function makeUrl() {
  const url = new URL("chat", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ username: me.name, room: me.room, session: me.session });
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
  connection.open();
  if (!narrow.matches) byId("text").focus();
}

byId("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim();
  const room = byId("first-room").value.trim() || "general";
  const problem = (name && problemWith("name", name)) || problemWith("room", room);
  byId("join-error").textContent = problem;
  if (problem) return;
  Object.assign(me, { name, room, session: randomToken() });
  showChat();
});

byId("leave").addEventListener("click", () => {
  connection.close();
  sessionStorage.removeItem("chat");
  me.session = "";
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
  if (!connection.send({ type: "join_room", room })) {
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
  connection.send({ type: "typing", typing });
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
  const entry = { id: randomToken(), message, room: shownRoom };
  waiting.push(entry);
  log.add({ ...entry, username: me.name, timestamp: Date.now() / 1000 },
    { own: true, waiting: true });
  connection.send({ type: "chat", id: entry.id, message });
  clearTimeout(idleTimer);
  saidTyping = 0; // the message itself says that I have written
  text.value = "";
  fitText();
  text.focus();
});

// After a reconnect: once more what was not confirmed. What was meant for another room stays
// unsaid.
function sendWaiting() {
  const again = waiting;
  waiting = again.filter((entry) => entry.room === me.room);
  for (const entry of again) {
    if (entry.room === me.room) {
      connection.send({ type: "chat", id: entry.id, message: entry.message });
    } else {
      log.fail(entry.id, me.name);
    }
  }
}

// ---- what the server says ----

function setBanner(words, button) {
  byId("banner").hidden = !words;
  byId("banner-text").textContent = words ?? "";
  byId("banner-button").textContent = button ?? "";
}

byId("banner-button").addEventListener("click", () => connection.open());

function onState(state, seconds, restarts) {
  const words = {
    connecting: "connecting…", open: "connected", waiting: "offline", taken: "elsewhere",
  };
  byId("state").textContent = words[state];
  byId("state").dataset.state = state;
  if (state === "waiting") {
    clearTyping();
    for (const name of users) expected.add(name);
    const when = seconds < 1.5 ? "in a second" : `in ${Math.round(seconds)} seconds`;
    const what = restarts ? "The server is being restarted." : "The connection is lost.";
    setBanner(`${what} Trying again ${when}. What you write is sent then.`, "Try now");
  } else if (state === "taken") {
    setBanner("This chat goes on in another window.", "Use it here");
  } else if (state === "open") {
    setBanner();
  }
}

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
  connection.send({ type: "list_users" });
  connection.send({ type: "server_stats" });
}

// Figures are asked for a moment after something has happened, and for all that happens meanwhile.
function askForStats() {
  statsTimer ||= setTimeout(() => {
    statsTimer = 0;
    connection.send({ type: "server_stats" });
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

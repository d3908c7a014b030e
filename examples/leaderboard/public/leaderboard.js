// leaderboard.js -- the leaderboard's page: shows the ten best as they change, and sends scores.

const SHORTEST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 10000;

const byId = (id) => document.getElementById(id);
let before = null; // player -> points, of the list that is shown
let socket = null;
let attempts = 0;

function setState(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
  byId("save").disabled = state !== "open";
}

function makeRow({ player, points }) {
  const row = document.createElement("tr");
  row.insertCell().textContent = player;
  row.insertCell().textContent = points.toLocaleString("en");
  if (before && before.get(player) !== points) row.dataset.changed = "";
  return row;
}

function answer(kind, text) {
  byId("answer").dataset.kind = kind;
  byId("answer").textContent = text;
}

const onMessage = {
  top: ({ top }) => {
    byId("top").replaceChildren(...top.map(makeRow));
    before = new Map(top.map(({ player, points }) => [player, points]));
  },
  saved: ({ player, best }) => {
    answer("saved", `${player}'s best score is ${best.toLocaleString("en")}.`);
  },
  error: ({ error }) => answer("error", error),
};

function connect() {
  const url = new URL("scores", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.onopen = () => setState("open", "live");
  socket.onmessage = (event) => {
    attempts = 0;
    const message = JSON.parse(event.data);
    onMessage[message.type]?.(message);
  };
  socket.onclose = () => {
    setState("waiting", "no connection: this is the last list");
    const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** attempts);
    attempts += 1;
    setTimeout(connect, longest * (0.5 + Math.random() / 2));
  };
}

byId("form").onsubmit = (event) => {
  event.preventDefault();
  answer("", "");
  const points = byId("points").valueAsNumber;
  socket.send(JSON.stringify({ player: byId("player").value, points }));
};

connect();

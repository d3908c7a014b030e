// prices.js -- the bridge's page: shows the newest price of each symbol, and whether it is of now.

const SHORTEST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 10000;

const rows = new Map(); // symbol -> its row of the table
let attempts = 0;

function setState(state, text) {
  const element = document.getElementById("state");
  element.dataset.state = state;
  element.textContent = text;
}

function addRow(symbol) {
  const body = document.getElementById("prices");
  const next = [...rows.keys()].filter((other) => other > symbol).sort()[0];
  const row = body.insertRow(next ? rows.get(next).sectionRowIndex : -1);
  row.insertCell().textContent = symbol;
  row.insertCell();
  rows.set(symbol, row);
  return row;
}

function showPrice(symbol, price) {
  const cell = (rows.get(symbol) ?? addRow(symbol)).cells[1];
  const before = Number(cell.dataset.price ?? price);
  cell.dataset.price = price;
  cell.dataset.move = price > before ? "up" : price < before ? "down" : "";
  cell.textContent = price.toLocaleString("en", { minimumFractionDigits: 3 });
}

function onMessage(message) {
  if (message.type === "prices") {
    for (const [symbol, price] of Object.entries(message.prices)) showPrice(symbol, price);
  } else if (message.type === "upstream" && message.connected) {
    setState("open", "live");
  } else if (message.type === "upstream") {
    setState("waiting", "the exchange does not answer: these are its last prices");
  }
}

function connect() {
  const url = new URL("prices", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url);
  socket.onmessage = (event) => {
    attempts = 0;
    onMessage(JSON.parse(event.data));
  };
  socket.onclose = () => {
    setState("waiting", "no connection: these are the last prices");
    const longest = Math.min(LONGEST_DELAY, SHORTEST_DELAY * 2 ** attempts);
    attempts += 1;
    setTimeout(connect, longest * (0.5 + Math.random() / 2));
  };
}

connect();

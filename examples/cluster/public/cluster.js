// cluster.js -- the chat's page: shows messages, and on which node each person is.
//
// The client asks for a session: a lost socket loses no message, also where the next one reaches
// another node.
import { Tidewire } from "./tidewire.mjs";

const byId = (id) => document.getElementById(id);
const people = new Map(); // id -> { id, name, node }
let me = null;

function makeElement(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

// A card for each node, with its people in the order of their names.
function showPeople() {
  const nodes = new Map();
  for (const person of people.values()) {
    if (!nodes.has(person.node)) nodes.set(person.node, []);
    nodes.get(person.node).push(person);
  }
  byId("nodes").replaceChildren(...[...nodes].sort().map(([node, list]) => {
    const card = document.createElement("div");
    card.className = "node";
    card.dataset.node = node;
    card.append(makeElement("h3", `node ${node}`), document.createElement("ul"));
    for (const person of list.sort((a, b) => a.name.localeCompare(b.name))) {
      const item = document.createElement("li");
      item.append(makeElement("bdi", person.name));
      if (person.id === me.id) item.className = "own";
      card.lastChild.append(item);
    }
    return card;
  }));
}

const onMessage = {
  welcome: (message) => {
    me = message;
    byId("state").textContent = `${me.name}, on node ${me.node}`;
  },
  people: (message) => {
    people.clear();
    for (const person of message.people) people.set(person.id, person);
    showPeople();
  },
  joined: (person) => {
    people.set(person.id, person);
    showPeople();
  },
  left: ({ id }) => {
    people.delete(id);
    showPeople();
  },
  said: (message) => {
    const item = document.createElement("li");
    item.append(makeElement("bdi", message.name), makeElement("small", `node ${message.node}`),
      makeElement("p", message.text));
    byId("messages").append(item);
  },
  error: ({ error }) => { byId("problem").textContent = error; },
};

function enter(name) {
  const client = new Tidewire(`chat?name=${encodeURIComponent(name)}`, { session: true });
  client.on("message", (message) => onMessage[message.type]?.(message));
  client.on("state", (state) => {
    byId("state").dataset.state = state;
    if (state !== "open") byId("state").textContent = "connecting…";
    else if (me) byId("state").textContent = `${me.name}, on node ${me.node}`;
  });
  byId("say").onsubmit = (event) => {
    event.preventDefault();
    byId("problem").textContent = "";
    client.send({ type: "say", text: byId("text").value });
    byId("text").value = "";
  };
}

byId("enter").onsubmit = (event) => {
  event.preventDefault();
  byId("enter").hidden = true;
  byId("chat").hidden = false;
  enter(byId("name").value);
};

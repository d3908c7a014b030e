// welcome.js -- the first page: a conversation with the handler at "/", and its source, which
// "/live" sends.
//
// When new code was activated, the page sends the last message again, to show its new answer.

import { Connection } from "./connection.js";
import { showSource } from "./source.js";

const ACTIVATED_WITHIN = 2000; // milliseconds after a save
const MOST_LINES = 200;

const byId = (id) => document.getElementById(id);

// ---- the conversation ----

const sent = []; // messages without an answer yet: { at, again }; answers come in their order
let lastSaid = null;
let lastAnswer = null;

function addLine(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  byId("log").querySelector(".hint")?.remove();
  byId("log").append(item);
  while (byId("log").children.length > MOST_LINES) byId("log").firstChild.remove();
  showNewest();
  return item;
}

function showNewest() {
  byId("scroller").scrollTop = byId("scroller").scrollHeight;
}

function say(text, again = false) {
  if (!talk.send(text)) return false;
  sent.push({ at: performance.now(), again });
  addLine("own", text);
  lastSaid = text;
  return true;
}

function onAnswer(data) {
  const question = sent.shift();
  const text = typeof data === "string" ? data : `${data.size} bytes`;
  const item = addLine("answer", text);
  if (question?.again && text !== lastAnswer) item.classList.add("fresh");
  lastAnswer = text;
  if (!question) return; // the handler has said it by itself
  const time = document.createElement("span");
  time.className = "time";
  time.textContent = `${(performance.now() - question.at).toFixed(1)} ms`;
  item.append(time);
  showNewest();
}

function onTalkState(state, code, reason) {
  byId("send").disabled = state !== "open";
  byId("state").dataset.state = state;
  if (state === "open") byId("state").textContent = "connected";
  if (state === "connecting") byId("state").textContent = "connecting…";
  if (state !== "waiting") return;
  byId("state").textContent = "disconnected, trying again…";
  if (sent.length > 0) {
    addLine("trouble",
      `No answer: closed with ${code}${reason ? ` (${reason})` : ""}. The terminal says why.`);
    sent.length = 0;
  }
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value;
  if (text !== "" && say(text)) byId("text").value = "";
  byId("text").focus();
});

// ---- the code ----

let shown = null;      // the source that is shown
let generation = null; // the code that runs
let patience = 0;

function setNews(kind, text) {
  byId("news").className = `news ${kind}`;
  byId("news").textContent = text;
}

// handler.lua:4: … -> 4
function lineOf(problem) {
  return Number(problem?.match(/:(\d+):/)?.[1] ?? 0);
}

function onCode(data) {
  const code = JSON.parse(data);
  const isNew = generation !== null && code.generation !== generation;
  const isSaved = shown !== null && code.source !== shown;
  byId("path").textContent = code.path;
  if (shown === null || isSaved || code.problem) {
    showSource(byId("source"), code.source, shown, lineOf(code.problem));
  }
  shown = code.source;
  generation = code.generation;
  byId("generation").hidden = false;
  byId("generation").textContent = `generation ${generation}`;
  if (isNew) {
    clearTimeout(patience);
    setNews("good", `Generation ${generation} was activated. You are still connected.`);
    addLine("turn", `generation ${generation}`);
    if (lastSaid !== null) say(lastSaid, true);
  } else if (isSaved) {
    clearTimeout(patience);
    if (code.problem) {
      setNews("bad", `Not loaded, the code before it goes on. ${code.problem}`);
    } else {
      setNews("", "Saved…");
      patience = setTimeout(() => setNews("bad", "Saved, and not activated: the terminal says why. "
        + "(Without --watch, send the server a SIGHUP.)"), ACTIVATED_WITHIN);
    }
  }
}

function onLiveState(state) {
  if (state !== "waiting") return;
  generation = null; // the next process may be another one, which counts from 1
  clearTimeout(patience);
}

// ---- what is copied ----

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

const talk = new Connection("./", { onMessage: onAnswer, onState: onTalkState });
const live = new Connection("live", { onMessage: onCode, onState: onLiveState });
byId("url").textContent = talk.url;
byId("talk-command").textContent = `build/release/tidewire talk ${talk.url}`;

for (const button of document.querySelectorAll("#ideas button, #commands button")) {
  const text = button.previousElementSibling.textContent;
  button.ariaLabel = `Copy ${text}`;
  button.addEventListener("click", () => copy(button, text));
}
byId("copy-path").addEventListener("click",
  (event) => copy(event.currentTarget, byId("path").textContent));

new ResizeObserver(showNewest).observe(byId("scroller"));
talk.open();
live.open();
if (matchMedia("(min-width: 52rem)").matches) byId("text").focus();

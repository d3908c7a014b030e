-- page.lua -- the page of the echo example: connects to its own address, and shows the round trip
-- of each message.
return [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidewire: echo</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --quiet: #888; --own: #2a7de1; }
  * { box-sizing: border-box; }
  body { margin: 0 auto; max-width: 40rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; }
  h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
  p, li span { color: var(--quiet); font-size: .875rem; margin: 0; }
  form { display: flex; gap: .5rem; margin: 1rem 0; }
  input, button { font: inherit; padding: .5rem .75rem; border-radius: .5rem; }
  input, button { border: 1px solid var(--line); }
  input { flex: 1; min-width: 0; }
  button { background: var(--own); color: #fff; border-color: transparent; }
  button:disabled { opacity: .5; }
  ol { list-style: none; margin: 0; padding: 0; }
  li { display: flex; justify-content: space-between; gap: 1rem; padding: .4rem 0;
       border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
  li span { white-space: nowrap; }
</style>
</head>
<body>
<h1>Echo</h1>
<p id="state" role="status">connecting…</p>
<form id="form">
  <input id="text" aria-label="Message" placeholder="Type something" autocomplete="off" autofocus>
  <button id="send" disabled>Send</button>
</form>
<ol id="log" aria-live="polite"></ol>
<script>
  "use strict";
  const byId = (id) => document.getElementById(id);
  const url = (location.protocol === "https:" ? "wss://" : "ws://")
    + location.host + location.pathname;
  const sentAt = []; // the answers come in the order of the messages
  let socket;

  function setState(text, open) {
    byId("state").textContent = text;
    byId("send").disabled = !open;
  }

  function connect() {
    socket = new WebSocket(url);
    sentAt.length = 0;
    socket.onopen = () => setState("connected to " + url, true);
    socket.onclose = (event) => {
      setState("closed with code " + event.code + ", trying again…", false);
      setTimeout(connect, 2000);
    };
    socket.onmessage = (event) => {
      const item = document.createElement("li");
      const time = document.createElement("span");
      time.textContent = (performance.now() - sentAt.shift()).toFixed(1) + " ms";
      item.append(event.data, time);
      byId("log").prepend(item);
    };
  }

  byId("form").onsubmit = (event) => {
    event.preventDefault();
    const text = byId("text").value;
    if (text === "" || socket.readyState !== WebSocket.OPEN) return;
    sentAt.push(performance.now());
    socket.send(text);
    byId("text").value = "";
  };

  // A page that is left may be kept by the browser with its socket, to be shown again.
  addEventListener("pagehide", () => {
    socket.onclose = null;
    socket.close();
  });
  addEventListener("pageshow", (event) => event.persisted && connect());

  connect();
</script>
</body>
</html>
]]

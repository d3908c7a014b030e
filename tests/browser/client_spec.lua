-- client_spec.lua -- the JavaScript client in a real browser, against the real server: the network
-- is switched off and on, pages are hidden and left; and a client as tutorials have it.

local chromium = require "browser.chromium"
local link = require "support.link"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"

if not chromium.find() then
  describe("the client in a browser", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

-- /numbers sends 200 numbered messages, and an echo of each number that it gets.
local APP = [[
local record = require "record"
local page = '<!doctype html><title>page</title><link rel="icon" href="data:,">'
return {
  defaults = { codec = "json", heartbeat = "json", origins = "*" },
  endpoints = {
    ["/numbers"] = {
      ping_period = 1,
      resume = { messages = 5000 },
      on_start = function(conn)
        conn.last, conn.number = 0, 0
        local timer
        timer = conn:every(0.02, function()
          conn.number = conn.number + 1
          conn:send({ number = conn.number })
          if conn.number == 200 then timer:cancel() end
        end)
      end,
      handle_message = function(conn, message)
        conn:send({ echo = message.n, wrong = message.n ~= conn.last + 1 and conn.last or nil })
        conn.last = message.n
      end,
    },
    ["/session"] = {
      resume = true,
      on_start = function(conn) record("on_start") end,
      on_disconnect = function(conn, code) record("on_disconnect", code) end,
      on_resume = function(conn) record("on_resume") end,
      on_close = function(conn, code) record("on_close", code) end,
      handle_message = function(conn, message) conn:send(message) end,
    },
    ["/plain"] = {
      ping_period = 0.1,
      handle_message = function(conn, message)
        conn:send({ got = message, rtt = conn.rtt ~= nil })
      end,
    },
  },
  http = {
    client = true,
    ["/"] = function()
      return {
        headers = { ["Content-Type"] = "text/html" },
        body = page .. '<script src="/tidewire.js"></script>',
      }
    end,
    ["/empty"] = function()
      return { headers = { ["Content-Type"] = "text/html" }, body = page }
    end,
    ["/plain_client.js"] = function()
      return {
        headers = { ["Content-Type"] = "text/javascript" },
        body = require("tidewire").read_file("plain_client.js"),
      }
    end,
  },
}
]]

describe("the client in a browser", function()
  local app, browser

  lazy_setup(function()
    app = server.start({
      app = APP,
      files = { ["plain_client.js"] = process.read_file("tests/interop/plain_client.js") },
    })
    browser = chromium.start()
  end)

  lazy_teardown(function()
    if browser then browser:stop() end
    if app then app:stop() end
  end)

  before_each(function() browser:reset() end)
  after_each(function() assert.same({}, browser.problems) end)

  local function open(path, port)
    browser:open(("http%s://127.0.0.1:%d%s"):format(app.addresses[1].tls and "s" or "",
      port or app.addresses[1].port, path or "/"))
  end

  local function network(is_on)
    browser:call("Network.emulateNetworkConditions", {
      offline = not is_on, latency = 0, downloadThroughput = -1, uploadThroughput = -1,
    })
  end

  it("loses and doubles nothing while the network is switched off and on", function()
    local path <close> = link.start(app.addresses[1])
    open("/", path.port)
    browser:call("Network.enable")
    browser:eval(([[(() => {
      globalThis.state = { heard: 0, echoed: 0, sent: 0, got: 0, resumed: 0, faults: [] };
      const fault = (text) => state.faults.push(text);
      globalThis.client = new Tidewire("/numbers",
        { session: true, timeout: %d, backoff: { min: 10, max: 200 } });
      client.on("session", ({ resumed, lost }) => {
        if (resumed) state.resumed++;
        else if (state.heard > 0 || lost.length > 0) fault("the session is lost");
      });
      client.on("error", (error) => fault(error.message));
      client.on("message", (message) => {
        const name = message.number === undefined ? "echo" : "number";
        const count = name === "echo" ? "echoed" : "heard";
        if (message[name] !== ++state[count]) fault(`${name} ${message[name]} ${state[count]}`);
        if (message.wrong !== undefined) fault(`wrong ${message.wrong}`);
      });
      const next = () => {
        const n = ++state.sent;
        client.send({ n }).then(() => { if (++state.got !== n) fault(`promise ${n}`); },
          (error) => fault(error.message));
        if (n < 200) setTimeout(next, 20);
      };
      next();
    })()]]):format(1000 * loop.patience / 10))
    for round = 1, 4 do
      browser:wait(("state.heard >= %d && state.echoed >= %d"):format(round * 20, round * 20))
      network(false)
      path:switch(false)
      browser:wait("!navigator.onLine")
      if round % 2 == 0 then browser:wait("client.state !== 'open'") end -- it is noticed
      path:switch(true)
      network(true)
      browser:wait(("navigator.onLine && state.resumed >= %d"):format(round))
    end
    browser:wait("state.heard === 200 && state.echoed === 200 && state.got === 200")
    assert.same({}, browser:eval("state.faults"))
    browser:eval("client.disconnect()")
  end)

  it("is a module, too", function()
    open()
    assert.equal("open", browser:eval([[(async () => {
      const { Tidewire: Client, default: same } = await import("/tidewire.mjs");
      if (Client !== same) return "two classes";
      const client = new Client("/session");
      return new Promise((resolve) => client.on("open", () => resolve(client.state)));
    })()]]))
  end)

  it("waits while the browser keeps the page, and ends with a page that is left", function()
    open()
    local started, ended = #app:events("on_start"), #app:events("on_close")
    browser:eval([[(() => {
      globalThis.seen = [];
      globalThis.client = new Tidewire("/session", { session: true });
      client.on("session", ({ resumed }) => seen.push(resumed));
      client.on("message", (message) => seen.push(message));
    })()]])
    browser:wait("client.state === 'open'")
    browser:eval("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert.equal("waiting", browser:eval("client.state"))
    app:wait_event("on_disconnect")
    browser:eval("client.send('meanwhile'), undefined")
    browser:eval("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    browser:wait("JSON.stringify(seen) === '[false,true,\"meanwhile\"]'")
    assert.equal(started + 1, #app:events("on_start"))
    assert.equal(ended, #app:events("on_close"))
    open("/empty") -- which the browser may do, too
    app:wait_event("on_disconnect", 2)
    browser:eval("history.back()")
    browser:wait("location.pathname === '/' && document.readyState === 'complete'")
    if not browser:eval("typeof client === 'object'") then return end -- it has not kept the page
    browser:wait("client.state === 'open' && seen.length === 4 && seen[3] === true")
    browser:eval("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: false }))")
    local event = app:wait_event("on_close", ended + 1)
    assert.equal(1000, event[2])
    assert.equal(started + 1, #app:events("on_start"))
  end)

  it("may be one as tutorials have it", function()
    open()
    browser:eval([[new Promise((resolve) => {
      const script = document.createElement("script");
      script.src = "/plain_client.js";
      script.onload = resolve;
      document.head.append(script);
    })]])
    browser:eval([[(() => {
      globalThis.seen = [];
      globalThis.plain = new PlainClient(location.href.replace("http", "ws") + "plain",
        { pingInterval: 50 });
      plain.on("message", (message) => seen.push(message));
      plain.connect();
    })()]])
    browser:wait("plain.answered >= 3 && plain.pongs >= 3 && plain.latency >= 0")
    browser:eval("plain.send({ type: 'hello' })")
    browser:wait("seen.length === 1")
    assert.same({ got = { type = "hello" }, rtt = true }, browser:eval("seen[0]"))
    browser:eval("plain.close()")
  end)
end)

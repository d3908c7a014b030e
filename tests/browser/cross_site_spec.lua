-- cross_site_spec.lua -- a real browser's pages of other hosts: their WebSockets, their forms, and
-- their looks at the admin address.

local chromium = require "browser.chromium"
local loop = require "support.loop"
local server = require "support.server"

if not chromium.find() then
  describe("a page of another host", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

local APP = [[
local record = require "record"
local function echo(conn, message) conn:send(message) end
return {
  endpoints = {
    ["/own"] = { handle_message = echo },
    ["/any"] = { handle_message = echo, origins = "*" },
  },
  http = {
    ["GET /"] = function()
      return { headers = { ["Content-Type"] = "text/html" }, body = "<p>hello" }
    end,
    ["POST /act"] = function(request)
      record("act", request.body)
      return "done"
    end,
  },
}
]]

describe("a page of another host", function()
  local app, ada

  lazy_setup(function()
    app = server.start({
      app = APP, options = { "--admin", "127.0.0.1:0", "--log-level", "debug" },
      listen = { "127.0.0.1:0", "127.0.0.2:0" },
      environment = { TIDEWIRE_TLS_CERTIFICATE = "" },
    })
    ada = chromium.start()
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    app:stop()
  end)

  local function open(number)
    local address = app.addresses[number]
    ada:open(("http://%s:%d/"):format(address.host, address.port))
  end

  -- What a connection of the page to 127.0.0.1 says: "open", or the code of its end.
  local function connect(path)
    return ada:eval(([[new Promise((resolve) => {
      const socket = new WebSocket("ws://127.0.0.1:%d%s");
      socket.onopen = () => { resolve("open"); socket.close(); };
      socket.onclose = (event) => resolve(`${event.code}`);
    })]]):format(app.addresses[1].port, path))
  end

  -- The same in a sandboxed frame, whose Origin is "null".
  local function connect_in_frame(path)
    return ada:eval(([[new Promise((resolve) => {
      addEventListener("message", (event) => resolve(event.data), { once: true });
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      frame.srcdoc = `<script>
        const socket = new WebSocket("ws://127.0.0.1:%d%s");
        socket.onopen = () => parent.postMessage("open", "*");
        socket.onclose = (event) => parent.postMessage(String(event.code), "*");
      <` + `/script>`;
      document.body.append(frame);
    })]]):format(app.addresses[1].port, path))
  end

  -- Sends a request that needs no permission of the server; returns when it has ended.
  local function post(body)
    return ada:eval(([[fetch("http://127.0.0.1:%d/act", {
      method: "POST", mode: "no-cors", body: %q,
    }).then((response) => response.type, () => "failed")]]):format(app.addresses[1].port, body))
  end

  it("opens no WebSocket where the handler has no `origins`", function()
    open(1)
    assert.equal("open", connect("/own"))
    open(2)
    assert.equal("1006", connect("/own"))
    assert.equal("open", connect("/any"))
    open(1)
    assert.equal("1006", connect_in_frame("/own"))
    assert.equal("open", connect_in_frame("/any"))
  end)

  it("changes nothing by a plain request", function()
    open(2)
    assert.equal("opaque", post("from another host"))
    assert.is_truthy(app:wait_for_log("event=refused .*method=POST path=/act status=403"))
    open(1)
    assert.equal("basic", post("from the own host"))
    assert.equal("from the own host", app:wait_event("act")[2])
    assert.equal(1, #app:events("act"))
  end)

  it("reads nothing of the admin address, which a person may open", function()
    open(1) -- the same host, and another port
    local metrics = ("http://127.0.0.1:%d/metrics"):format(app.admin.port)
    for _, mode in ipairs({ "cors", "no-cors" }) do
      local before = #app:log_lines("event=refused .*path=/metrics status=403")
      ada:eval(([[fetch(%q, { mode: %q }).then(() => "", () => "")]]):format(metrics, mode))
      assert.is_truthy(loop.wait_until(function()
        return #app:log_lines("event=refused .*path=/metrics status=403") > before
      end), mode)
    end
    ada:open(metrics)
    ada:wait("document.body.innerText.includes('tidewire_connections')")
  end)
end)

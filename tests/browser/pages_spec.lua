-- pages_spec.lua -- a page in a real browser sees what docs/browsers.md describes.

local chromium = require "browser.chromium"
local process = require "support.process"
local server = require "support.server"

if not chromium.find() then
  describe("a page", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

-- The handler of the page's first block, among others.
local function make_app()
  local block = process.read_file("docs/browsers.md"):match("\n```lua\n(.-\n)```\n")
  return ([[
local ticket = (function() %s end)()
local echo = { handle_message = function(conn, message) conn:send(message) end }
return {
  endpoints = {
    ["/ticket"] = ticket,
    ["/echo"] = echo,
    ["/chosen"] = { subprotocols = { "chat.v1" }, handle_message = echo.handle_message },
    ["/refused"] = { validate = function() return nil, 401, "no" end },
    ["/others"] = { origins = { "https://example.com" } },
    ["/error"] = { handle_message = function() error("on purpose") end },
  },
  http = { ["GET /"] = function()
    return { headers = { ["Content-Type"] = "text/html" }, body = "<p>hello" }
  end },
}]]):format(block)
end

describe("a page", function()
  local app, ada

  lazy_setup(function()
    app = server.start({ app = make_app() })
    ada = chromium.start()
    ada:open((app:url("/"):gsub("^ws", "http")))
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    app:stop()
  end)

  -- How a connection of the page's ends: its messages, then "CODE REASON CLEAN".
  local function ends(path, protocols, first)
    return ada:eval(([[new Promise((resolve) => {
      const told = [];
      const socket = new WebSocket(%q, %s);
      globalThis.socket = socket;
      socket.onopen = () => { told.push("open"); if (%q !== "") socket.send(%q); };
      socket.onmessage = (event) => told.push(event.data);
      socket.onclose = (event) =>
        resolve([...told, event.code, event.reason, event.wasClean].join(" "));
    })]]):format(app:url(path), protocols or "[]", first or "", first or ""))
  end

  it("sees 1006 for every refusal", function()
    for _, path in ipairs({ "/refused", "/others", "/nothing" }) do
      assert.equal("1006  false", ends(path), path)
    end
  end)

  it("sees a refusal with a status from 4000 to 4999, and the close codes of hooks", function()
    assert.equal("open 4401 log in first true", ends("/ticket"))
    assert.equal("open 4401 log in first true", ends("/ticket", '["chat.v1"]'))
    assert.equal("open 1011 script error true", ends("/error", nil, "hello"))
  end)

  it("fails when it asks for a subprotocol and the handler has none", function()
    assert.equal("1006  false", ends("/echo", '["chat.v1"]'))
    ada:eval(("globalThis.socket = new WebSocket(%q, ['chat.v1'])"):format(app:url("/chosen")))
    ada:wait("socket.readyState === WebSocket.OPEN && socket.protocol === 'chat.v1'")
  end)

  it("sees the server's 1001 as a clean close", function()
    ada:eval(([[(() => {
      globalThis.ended = "";
      const socket = new WebSocket(%q);
      socket.onopen = () => { globalThis.ended = "open"; };
      socket.onclose = (event) => { globalThis.ended = `${event.code} ${event.wasClean}`; };
    })()]]):format(app:url("/echo")))
    ada:wait("ended === 'open'")
    app:signal("sigterm")
    ada:wait("ended === '1001 true'")
  end)
end)

-- subprotocols_spec.lua -- which subprotocol is chosen, what the script sees of it, and which
-- handshakes are refused.

local client = require "support.client"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local function tell(conn) conn:send(tostring(conn.subprotocol)) end
return {
  endpoints = {
    ["/two"]  = { subprotocols = { "chat.v2", "chat.v1" }, handle_message = tell },
    ["/none"] = { handle_message = tell },
    ["/nor"] = { subprotocols = {}, handle_message = tell },
    ["/quiet"] = { handle_message = tell },
    ["/seen"] = {
      subprotocols = { "b" },
      validate = function(request) return { offered = table.concat(request.subprotocols, "|") } end,
      handle_message = function(conn) conn:send(conn.offered) end,
    },
  },
}
]]

describe("subprotocols", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function assert_chosen(expected, offered, path)
    local ada = app:connect(path or "/two", { subprotocols = offered })
    assert.equal(expected, ada.subprotocol)
    assert.equal(tostring(expected), (ada:ask("which")))
  end

  it("are chosen by the server's preference, whatever the client's order", function()
    assert_chosen("chat.v2", { "chat.v1", "chat.v2" })
    assert_chosen("chat.v2", { "chat.v2", "chat.v1" })
    assert_chosen("chat.v1", { "other", "chat.v1" })
  end)

  it("are none for a client that offers none", function()
    assert_chosen(nil, nil)
  end)

  it("are none where the handler names none, whatever is offered", function()
    assert_chosen(nil, { "chat.v1" }, "/none")
  end)

  it("that match none are warned of, once for each endpoint, without their names", function()
    for _, path in ipairs({ "/none", "/none?again", "/nor" }) do
      for number = 1, 2 * app.workers do
        app:connect(path, { subprotocols = { "secret" .. number } })
      end
    end
    app:connect("/quiet")
    app:connect("/two", { subprotocols = { "chat.v1" } })
    for _, path in ipairs({ "/none", "/nor" }) do
      assert.is_truthy(app:wait_for_log("warn .*event=subprotocols .*" .. path))
    end
    assert.equal(2, #app:log_lines("event=subprotocols"))
    assert.equal(2, #app:log_lines("event=subprotocols .*subprotocols = {.*NAME.*} in the handler"))
    assert.equal(0, #app:log_lines("secret"))
  end)

  it("that are all unknown are refused with 400", function()
    for _, offered in ipairs({ { "chat.v3" }, { "CHAT.V1" }, { "chat", "v1", "chat.v11" } }) do
      local none, status, headers, body =
        client.connect(app:url("/two"), { subprotocols = offered })
      assert.same({ nil, 400 }, { none, status })
      assert.is_nil(headers["sec-websocket-protocol"])
      assert.is_true(#body > 0)
    end
  end)

  it("may be offered in several headers", function()
    local request = client.handshake("/two", { subprotocols = { "x" } })
    request = request:gsub("\r\n\r\n$", "\r\nSec-WebSocket-Protocol: y, chat.v1\r\n\r\n")
    local response = assert(app:raw(request))
    assert.equal(101, response.status)
    assert.equal("chat.v1", response.headers["sec-websocket-protocol"])
  end)

  it("may have long names", function()
    local name = ("x"):rep(2000)
    local chatty <close> = server.start({ app = ("return { subprotocols = %q }"):format(name) })
    assert.equal(name, chatty:connect("/", { subprotocols = { name } }).subprotocol)
  end)

  it("that are no tokens are refused with 400", function()
    local _, status = client.connect(app:url("/two"), { subprotocols = { "chat v1" } })
    assert.equal(400, status)
    _, status = client.connect(app:url("/two"), { subprotocols = { "chat.v1", "a/b" } })
    assert.equal(400, status)
  end)

  it("are seen by validate as the client offered them", function()
    local ada = app:connect("/seen", { subprotocols = { "a", "b", "c" } })
    assert.equal("a|b|c", (ada:ask("which")))
  end)
end)

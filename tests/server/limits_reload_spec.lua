-- limits_reload_spec.lua -- limits that a reload lowers while requests are under way: accepted ones
-- stay.

local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
  return {
    LIMITS
    defaults = { DEFAULTS },
    endpoints = { ["/"] = { handle_message = function(conn, message) conn:send(message) end } },
    http = { ["POST /"] = function(request)
      return request.headers["x-token"] .. ":" .. request.body
    end },
  }
]]

local function app_with(limits, defaults)
  return (APP:gsub("%u%u%u+", { LIMITS = limits or "", DEFAULTS = defaults or "" }))
end

describe("limits that a reload lowers", function()
  after_each(stream.close_all)

  it("are not those of a request whose body is on its way", function()
    local app <close> = server.start({ app = app_with() })
    local token, body = ("t"):rep(6000), ("b"):rep(200000)
    local peers = {}
    for index = 1, 3 do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(("POST / HTTP/1.1\r\nHost: x\r\nX-Token: %d%s\r\nExpect: "
        .. "100-continue\r\nContent-Length: %d\r\n\r\n"):format(index, token, #body))
      local continue = "HTTP/1.1 100 Continue\r\n\r\n"
      -- its head was accepted
      assert.is_truthy(loop.wait_until(function() return peer:look(#continue) end))
      assert.equal(continue, peer:take(#continue))
      peers[index] = peer
    end
    reloads.good(app, app_with("limits = { header_bytes = 512 },"))
    for at = 1, #body, 50000 do
      for _, peer in ipairs(peers) do
        peer:write(body:sub(at, at + 49999))
        peer:flush()
      end
    end
    for index, peer in ipairs(peers) do
      local response = assert(http.read_response(peer))
      assert.equal(200, response.status)
      assert.is_true(response.body == index .. token .. ":" .. body,
        "another request's header or body")
    end
    assert.equal(431, app:http({ path = "/", headers = { Cookie = token } }).status)
  end)

  it("are not those of a message that has begun, and are those of the next", function()
    local app <close> = server.start({ app = app_with() })
    local ada = app:connect("/")
    local payload = ("p"):rep(3000)
    ada:send_raw(frames.encode({ payload = payload, fin = false }))
    ada:send_ping("read") -- so what came before was read
    ada:wait_pings(1, nil, "pongs")
    reloads.good(app, app_with("", "max_message_size = 100"))
    ada:send_raw(frames.encode({ opcode = "continuation", payload = payload }))
    assert.equal(payload .. payload, (ada:receive()))
    ada:send_text(("p"):rep(101))
    local _, _, code = ada:receive()
    assert.equal(1009, code)
  end)

  it("on connections are those of new ones only", function()
    local app <close> = server.start({ app = app_with() })
    local ada, bob = app:connect("/"), app:connect("/")
    reloads.good(app,
      app_with("limits = { connections = 1, per_address = 1 },", "max_connections = 1"))
    assert.equal("a", (ada:ask("a")))
    assert.equal("b", (bob:ask("b")))
  end)
end)

-- refusals_spec.lua -- every refusal, of C or of Lua, has the same form: JSON with `error` and
-- `status`, in this order.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
return {
  endpoints = {
    ["/ws"] = {},
    ["/origin"] = { origins = { "https://example.com" } },
    ["/protocol"] = { subprotocols = { "v1" } },
    ["/said"] = { validate = function() return nil, 401, 'who are "you"?\n' end },
    ["/unsaid"] = { validate = function() return false end },
    ["/broken"] = { validate = function() error("secret") end },
    ["/yields"] = { validate = coroutine.yield },
    ["/yields/in"] = { validate = function() return xpcall(coroutine.yield, print, 1) end },
    ["/waits"] = { validate = function() return pcall(require("tidewire").sleep, 0) and true end },
    ["/loops"] =
      { validate = function() while true do pcall(function() while true do end end) end end },
    ["/origin/loops"] = { origins = function() while true do end end },
    ["/origin/yields"] = { origins = coroutine.yield },
    ["/nothing"] = { validate = function() end },
  },
  http = {
    ["/files"] = { static = "." },
    ["GET /route"] = function() error("secret") end,
    ["GET /long"] = function() while true do end end,
    ["GET /nothing"] = function() return end,
  },
  defaults = { handler_timeout = 0.05 },
}
]]

local UPGRADE = { Connection = "Upgrade", Upgrade = "websocket", ["Sec-WebSocket-Version"] = "13",
  ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==" }

--- The headers of a handshake, with changes; false leaves one out.
local function handshake(changes)
  local headers = {}
  for name, value in pairs(UPGRADE) do headers[name] = value end
  for name, value in pairs(changes or {}) do headers[name] = value or nil end
  return headers
end

local function check(status, response)
  assert.equal(status, response.status)
  assert.equal("application/json", response.headers["content-type"])
  local body = cjson.decode(response.body)
  assert.equal(status, body.status)
  assert.is_true(#body.error > 0)
  assert.equal('{"error":', response.body:sub(1, 9))
  assert.equal((',"status":%d}'):format(status),
    response.body:sub(-#(',"status":%d}'):format(status)))
  return body.error
end

describe("a refusal", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  for what, case in pairs {
    ["no endpoint"] = { 404, "/nowhere", handshake() },
    ["an Origin"] = { 403, "/origin", handshake { Origin = "https://evil.example" } },
    ["a subprotocol"] = { 400, "/protocol", handshake { ["Sec-WebSocket-Protocol"] = "v2" } },
    ["no key"] = { 400, "/ws", handshake { ["Sec-WebSocket-Key"] = false } },
    ["no Upgrade, whose text has quotes"] = { 400, "/ws", handshake { Upgrade = false } },
    ["a version"] = { 426, "/ws", handshake { ["Sec-WebSocket-Version"] = "8" } },
    ["validate, with a text of its own"] = { 401, "/said", handshake() },
    ["validate, without"] = { 403, "/unsaid", handshake() },
    ["an error in validate"] = { 500, "/broken", handshake() },
    ["a validate that yields"] = { 500, "/yields", handshake() },
    ["a validate that yields in a protected call"] = { 500, "/yields/in", handshake() },
    ["a validate that waits in a protected call"] = { 403, "/waits", handshake() },
    ["a validate that takes too long"] = { 500, "/loops", handshake() },
    ["a validate that returns nothing"] = { 500, "/nothing", handshake() },
    ["origins that take too long"] = {
      500, "/origin/loops", handshake { Origin = "https://a.example" },
    },
    ["origins that yield"] = { 500, "/origin/yields", handshake { Origin = "https://a.example" } },
    ["no WebSocket"] = { 426, "/ws" },
    ["no route"] = { 404, "/nowhere" },
    ["a route's method"] = { 405, "/route", nil, "POST" },
    ["a route's error"] = { 500, "/route" },
    ["a route that returns nothing"] = { 500, "/nothing" },
    ["a route that takes too long"] = { 500, "/long" },
    ["no file"] = { 404, "/files/none.html" },
    ["a path of a file that is encoded wrongly"] = { 400, "/files/%zz" },
    ["a file's method"] = { 405, "/files/app.lua", nil, "DELETE" },
    ["a range beyond the file"] = { 416, "/files/app.lua", { Range = "bytes=99999-" } },
  } do
    it("of " .. what, function()
      check(case[1], app:http { path = case[2], headers = case[3], method = case[4] or "GET" })
    end)
  end

  it("of bytes that are no request", function()
    check(400, assert(app:raw("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n")))
  end)

  it("of one connection too many, of an address or of an endpoint", function()
    for status, text in pairs {
      [429] = 'return { limits = { per_address = 1 }, endpoints = { ["/ws"] = {} } }',
      [503] = 'return { endpoints = { ["/ws"] = { max_connections = 1 } } }',
    } do
      local small <close> = server.start({ app = text })
      small:connect("/ws")
      check(status, small:http { path = "/ws", headers = handshake() })
    end
  end)

  it("says what the script said, in any letters", function()
    assert.equal('who are "you"?\n', check(401, app:http { path = "/said", headers = handshake() }))
  end)
end)

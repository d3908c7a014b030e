-- close_refusals_spec.lua -- a status from 4000 to 4999 of validate: the handshake is accepted and
-- the connection closed with that code at once, which is all that a page in a browser can read.

local cjson = require "cjson"
local client = require "support.client"
local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"

local function noting(handler)
  for _, hook in ipairs({ "on_start", "handle_message", "send_ping", "on_error", "on_close" }) do
    handler[hook] = function(_, ...) record(hook, ...) end
  end
  return handler
end

local function refuse(request)
  return nil, tonumber(request.query.code), request.query.why
end

return {
  limits = { connections = 20 },
  endpoints = {
    ["/"] = noting({ validate = refuse }),
    ["/table"] =
      noting({ validate = function() return nil, { status = 4403, message = "go away" } end }),
    ["/chat"] = noting({ subprotocols = { "v2", "v1" }, validate = refuse }),
    ["/origin"] = noting({
      origins = function(origin)
        return origin == "https://good.example", 4403, "not from there"
      end,
    }),
    ["/one"] = {
      max_connections = 1, validate = function(request) return request.query.code == nil, 4000 end,
    },
    ["/open"] = { handle_message = function(conn, message) conn:send(message) end },
  },
  http = {
    ["/stats"] = function() return tw.stats() end,
    ["POST /say"] = function() return tostring(tw.broadcast("hello")) end,
  },
}
]]

describe("a validate that refuses with a status from 4000 to 4999", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function stats() return cjson.decode(app:http("/stats").body) end

  local function assert_closed(code, reason, ada)
    local message, kind = ada:receive()
    assert.same({ nil, "close" }, { message, kind }) -- nothing comes before
    assert.same({ code, reason }, { ada:wait_closed() })
  end

  it("accepts the handshake, and closes with that code and reason", function()
    for _, code in ipairs({ 4000, 4401, 4999 }) do
      assert_closed(code, "", app:connect("/?code=" .. code))
      assert_closed(code, "who are you?", app:connect(("/?code=%d&why=who+are+you?"):format(code)))
    end
    assert_closed(4403, "go away", app:connect("/table"))
    assert_closed(4000, ("ä"):rep(61), app:connect("/?code=4000&why=" .. ("%C3%A4"):rep(70)))
  end)

  it("still refuses with any other", function()
    for _, status in ipairs({ 300, 401, 599 }) do
      local none, answer = client.connect(app:url("/?code=" .. status))
      assert.same({ nil, status }, { none, answer })
    end
    for _, status in ipairs({ 200, 600, 1008, 3999, 5000 }) do
      local none, answer = client.connect(app:url("/?code=" .. status))
      assert.same({ nil, 500 }, { none, answer })
    end
  end)

  it("answers a subprotocol that the client has offered", function()
    for _, case in ipairs({
      { "/chat?code=4000", { "v1", "v2" }, "v2" }, { "/?code=4000", { "x", "y" }, "x" },
    }) do
      local ada = app:connect(case[1], { subprotocols = case[2] })
      assert.equal(case[3], ada.subprotocol)
      assert_closed(4000, "", ada)
    end
    assert.equal(0, #app:log_lines("event=subprotocols"))
  end)

  it("may be a function of `origins`", function()
    assert_closed(4403, "not from there",
      app:connect("/origin", { origin = "https://evil.example" }))
    app:connect("/origin", { origin = "https://good.example" }):drop()
  end)

  it("does not listen to what comes, also right behind the handshake", function()
    local ada =
      app:connect("/?code=4000", { trailing = frames.encode({ payload = "early" }):rep(10) })
    ada:send_text("late")
    ada:send_raw(frames.encode({ opcode = "ping", payload = "?" }))
    assert_closed(4000, "", ada)
    assert.equal(0, #ada.pongs)
  end)

  it("ends TCP, whatever the client does", function()
    local before = app.process:fd_count()
    for _, finish in ipairs({ "abort", "drop" }) do
      for _ = 1, 5 do
        local ada = app:connect("/?code=4000")
        ada[finish](ada)
      end
    end
    local deaf = app:connect("/?code=4000")
    deaf.auto_close = false
    assert.equal(4000, (deaf:wait_closed()))
    assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= before end))
  end)

  it("is no connection for hooks, counters, broadcasts and the endpoint's places", function()
    assert.is_truthy(loop.wait_until(function() return stats().connections == 0 end))
    local before = stats()
    local waiting = {}
    for index = 1, 5 do
      waiting[index] = app:connect("/one?code=4000")
      waiting[index].auto_close = false
    end
    local ada = app:connect("/one")
    assert.equal("1", app:http({ method = "POST", path = "/say" }).body)
    assert.equal("hello", (ada:receive()))
    local after = stats()
    assert.equal(before.connections_opened + 1, after.connections_opened)
    assert.equal(before.connections_refused + 5, after.connections_refused)
    assert.equal(1, after.connections)
    for index = 1, 5 do assert_closed(4000, "", waiting[index]) end
    assert.equal(before.connections_closed, stats().connections_closed)
  end)

  it("counts towards the server's connections until it has ended", function()
    local places, refused = {}, nil
    assert.is_truthy(loop.wait_until(function()
      local ada, status = client.connect(app:url("/?code=4000"))
      if not ada then refused = status return true end
      ada.auto_close = false
      places[#places + 1] = ada
    end))
    assert.equal(503, refused)
    local open = 0 -- the server ends those that do not answer for three seconds
    for _, ada in ipairs(places) do open = open + (ada.stream.ended and 0 or 1) end
    assert.is_true(open <= 20)
    stream.close_all()
    assert.is_truthy(loop.wait_until(function()
      local ada = client.connect(app:url("/open"))
      return ada and ada:ask("in") == "in"
    end))
  end)

  it("calls no hook", function()
    local starts = 0
    for _, event in ipairs(app:events()) do
      if event[1] ~= "on_start" and event[1] ~= "on_close" then error(event[1] .. " was called") end
      starts = starts + (event[1] == "on_start" and 1 or 0)
    end
    assert.equal(1, starts) -- that of the Origin which is good
  end)
end)

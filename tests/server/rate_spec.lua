-- rate_spec.lua -- the options `rate` and `control_rate`: what one client may send, judged before a
-- script sees it. A `per` of an hour keeps the clock out of the tests: the burst is all there is.

local client = require "support.client"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local flags = tw.shared("flags")
local function wait_for(flag)
  while not flags:get(flag) do tw.sleep(0.01) end
end

return {
  limits = { half_closed_seconds = 0.5 },
  defaults = {
    validate = here.validate, ping_period = 0,
    on_close = function(conn, code, reason) record("close", code, reason) end,
    handle_message = function(conn, message) record("message", #message) conn:send(message) end,
    DEFAULTS
  },
  endpoints = {
    ["/close"] = { rate = { messages = 5, per = 3600 } },
    ["/burst"] = { rate = { messages = 1, per = 3600, burst = 5 } },
    ["/bytes"] = { rate = { bytes = "1K", per = 3600 } },
    ["/drop"] = { rate = { messages = 5, per = 3600, action = "drop" } },
    ["/drop/bytes"] = { rate = { bytes = 100, per = 3600, action = "drop" } },
    ["/pause"] = { rate = { messages = 5, per = 3600, action = "pause" } },
    ["/pause/short"] = {
      rate = { messages = 50, per = 1, burst = 5, action = "pause" },
      pong_period = 0.02, ping_period = 0.01,
    },
    ["/pause/pinged"] = {
      rate = { messages = 5, per = 3600, action = "pause" }, ping_period = 0.05,
    },
    ["/silent"] = { rate = { messages = 1, per = 3600, action = "drop" }, pong_period = 1 },
    ["/paused/silent"] = {
      rate = { messages = 1, per = 3600, action = "pause" }, pong_period = 0.05,
    },
    ["/none"] = {},
    ["/nothing"] = { rate = { messages = 5, per = 3600 }, handle_message = false },
    ["/start"] = {
      rate = { messages = 5, per = 3600 },
      on_start = function() wait_for("started") end,
    },
    ["/asleep"] = {
      rate = { messages = 5, per = 3600, action = "drop" },
      handle_message = function(conn, message) wait_for("awake") record("message", #message) end,
    },
    ["/asleep/pause"] = {
      rate = { messages = 5, per = 3600, action = "pause" },
      handle_message = function(conn, message) wait_for("awake") conn:send(message) end,
    },
    ["/pings"] = { control_rate = { frames = 1, per = 3600, burst = 10 } },
    ["/pings/many"] = { control_rate = { frames = 1, per = 3600, burst = 5000 } },
    ["/pings/any"] = { control_rate = false },
    ["/ponged"] = {
      control_rate = { frames = 1, per = 3600, burst = 1 },
      handle_message = function(conn) conn:ping() end,
    },
  },
  http = {
    ["POST /flag/:name"] = function(request) flags:set(request.params.name, true) return 204 end,
  },
}
]]

local NO_KEY = "\0\0\0\0"

local function text(payload)
  return frames.encode({ payload = payload, key = NO_KEY })
end

local function app_with(changes)
  return (APP:gsub("DEFAULTS", changes or ""))
end

describe("a rate", function()
  local app

  before_each(function()
    app = server.start({
      app = app_with(), options = { "--admin", "127.0.0.1:0", "--log-level", "debug" },
    })
  end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function set_flag(name)
    assert.equal(204, app:http({ method = "POST", path = "/flag/" .. name }).status)
  end

  local function assert_closed(ada, reason)
    local code, why = ada:wait_closed()
    assert.same({ 1008, reason or "rate limit" }, { code, why })
  end

  local function metric(name)
    local body = http.request(app.admin, "/metrics").body
    return tonumber(body:match("\n" .. name .. " (%d+)"))
  end

  describe("that closes", function()
    it("passes as many messages as it allows, and closes with 1008 at the next", function()
      for _, path in ipairs { "/close", "/burst" } do
        local ada = app:connect(path)
        for number = 1, 5 do assert.equal("m" .. number, (ada:ask("m" .. number))) end
        ada:send_text("one too many")
        assert_closed(ada)
      end
      assert.equal("rate limit", app:wait_event("close", 2)[3])
      assert.equal(10, #app:events("message"))
    end)

    it("does so for messages that came in one write, with the answers before", function()
      local ada = app:connect("/close")
      ada:send_raw(text("x"):rep(100000))
      assert.equal(5, #ada:receive_many(5))
      assert_closed(ada)
      assert.equal(5, #app:events("message"))
    end)

    it("counts the bytes of messages", function()
      local ada = app:connect("/bytes")
      assert.equal(1000, #ada:ask(("x"):rep(1000)))
      assert.equal(24, #ada:ask(("x"):rep(24)))
      ada:send_text("x")
      assert_closed(ada)
      local bob = app:connect("/bytes")
      bob:send_text(("x"):rep(1025))
      assert_closed(bob)
    end)

    it("begins with no more used up than its burst", function()
      local ada = app:connect("/pings/many")
      ada:send_raw(frames.encode({ opcode = "ping", key = NO_KEY }):rep(4000))
      assert.equal("x", (ada:ask("x")))
      reloads.good(app, (app_with():gsub('(%["/pings/many"%]) = %b{}',
        '%1 = { control_rate = { frames = 20, per = 1, burst = 5 } }')))
      local began = loop.now()
      assert.is_true(loop.wait_until(function() return loop.now() - began > 0.2 end))
      ada:send_raw(frames.encode({ opcode = "ping", key = NO_KEY }))
      assert.equal("y", (ada:ask("y")))
    end)

    it("is each connection's own", function()
      local ada, bob = app:connect("/close"), app:connect("/close")
      for _ = 1, 5 do ada:ask("a") end
      for _ = 1, 5 do bob:ask("b") end
      ada:send_text("more")
      assert_closed(ada)
      bob:send_text("more")
      assert_closed(bob)
    end)

    it("counts messages while on_start waits, and drops those that wait", function()
      local ada = app:connect("/start")
      ada:send_raw(text("x"):rep(5))
      ada:send_ping("read")
      ada:wait_pings(1, nil, "pongs")
      ada:send_text("more")
      assert_closed(ada)
      set_flag("started")
      assert.equal(1008, app:wait_event("close")[2])
      assert.equal(0, #app:events("message"))
    end)

    it("closes in the middle of the next message too", function()
      local ada = app:connect("/close")
      ada:send_raw(text("x"):rep(5) .. frames.encode({ payload = "a", fin = false, key = NO_KEY }))
      assert.equal(5, #ada:receive_many(5))
      ada:send_ping("between")
      ada:wait_pings(1, nil, "pongs")
      ada:send_raw(frames.encode({ opcode = 0, payload = "b", key = NO_KEY })
        .. frames.encode({ payload = "c", fin = false, key = NO_KEY }))
      assert_closed(ada)
    end)

    it("needs no handle_message", function()
      local ada = app:connect("/nothing")
      ada:send_raw(text("x"):rep(6))
      assert_closed(ada)
    end)
  end)

  describe("that drops", function()
    it("drops what is too much, and keeps the connection", function()
      for _ = 1, app.workers do
        local ada = app:connect("/drop")
        ada:send_raw(text("x"):rep(100000))
        ada:send_ping("after them")
        assert.is_true(ada:wait_pings(1, nil, "pongs"))
        assert.equal("timeout", select(2, ada:receive(0)))
        assert.equal(1000, (ada:close(1000)))
      end
      assert.equal(5 * app.workers, #app:events("message"))
      assert.equal(99995 * app.workers, metric("tidewire_rate_drops_total"))
    end)

    it("says so once for a series of messages", function()
      local ada = app:connect("/drop")
      ada:send_raw(text("x"):rep(100))
      ada:send_ping("after them")
      assert.is_true(ada:wait_pings(1, nil, "pongs"))
      assert.matches(' endpoint=/drop conn=%w+ action=drop why="messages are dropped"',
        app:wait_for_log("event=rate_limited"))
      assert.equal(1, #app:log_lines("event=rate_limited"))
    end)

    it("passes a small message where a large one does not fit", function()
      local ada = app:connect("/drop/bytes")
      ada:send_text(("x"):rep(60))
      ada:send_text(("y"):rep(60))
      ada:send_text(("z"):rep(40))
      assert.equal(("x"):rep(60), (ada:receive()))
      assert.equal(("z"):rep(40), (ada:receive()))
    end)

    it("takes dropped messages for signs of life", function()
      local ada = app:connect("/silent")
      ada:ask("the one")
      local deadline = loop.now() + 2
      while loop.now() < deadline do
        ada:send_text("dropped")
        assert.is_true(ada:is_silent(0.05))
      end
    end)

    it("takes no memory for them while a hook sleeps", function()
      local ada = app:connect("/asleep")
      ada:send_raw(text(("x"):rep(1000)):rep(10000))
      ada:send_ping("after them")
      assert.is_true(ada:wait_pings(1, nil, "pongs"), "the server has stopped reading")
      set_flag("awake")
      app:wait_event("message", 5)
      assert.equal(1000, (ada:close(1000)))
      assert.equal(5, #app:events("message"))
    end)
  end)

  describe("that pauses", function()
    it("delivers all messages in order, no sooner than it allows", function()
      local ada, began = app:connect("/pause/short"), loop.now()
      for number = 1, 45 do ada:send_text("m" .. number) end
      for number, message in ipairs(ada:receive_many(45)) do
        assert.equal("m" .. number, message)
      end
      assert.is_true(loop.now() - began >= 0.78, "40 messages above the burst came too early")
      assert.is_true(metric("tidewire_rate_pauses_total") > 0)
    end)

    it("stops reading, and serves others meanwhile", function()
      local ada = app:connect("/pause")
      ada:send_raw(text("x"):rep(20))
      assert.equal(5, #ada:receive_many(5))
      ada:send_ping("unread")
      assert.is_true(ada:is_silent(0.2))
      assert.equal(0, #ada.pongs)
      assert.equal("y", (app:connect("/none"):ask("y")))
      assert.equal(6, #app:events("message"))
    end)

    it("keeps a client that it does not read, however short pong_period is", function()
      local ada = app:connect("/paused/silent")
      ada:ask("the one")
      assert.is_true(ada:is_silent(0.5))
      assert.equal(0, #app:events("close"))
    end)

    it("notices a reset, at the next ping", function()
      local ada = app:connect("/pause/pinged")
      ada:send_raw(text("x"):rep(20))
      ada:receive_many(5)
      ada:abort()
      assert.equal(1006, app:wait_event("close")[2])
    end)

    it("lets the drain close the connection", function()
      local ada = app:connect("/pause")
      ada:send_raw(text("x"):rep(20))
      ada:receive_many(5)
      app:signal("sigterm")
      assert.equal(1001, (ada:wait_closed()))
      assert.equal("eof", ada.stream.ended) -- it has read the client's Close frame
    end)

    it("waits for a hook that sleeps, as well", function()
      local ada = app:connect("/asleep/pause")
      ada:send_raw(text("x"):rep(20))
      assert.is_true(ada:is_silent(0.1))
      set_flag("awake")
      assert.equal(5, #ada:receive_many(5))
      assert.is_true(ada:is_silent(0.1))
    end)
  end)

  describe("of control frames", function()
    local ping = frames.encode({ opcode = "ping", payload = "p", key = NO_KEY })
    local pong = frames.encode({ opcode = "pong", payload = "p", key = NO_KEY })

    it("closes with 1008, whether they are pings or pongs", function()
      for _, frame in ipairs { ping, pong } do
        local ada = app:connect("/pings")
        ada:send_raw(frame:rep(10))
        assert.equal("x", (ada:ask("x")))
        ada:send_raw(frame)
        assert_closed(ada, "too many control frames")
      end
    end)

    it("is on by default, and ends a flood of a million pings", function()
      local ada, bob = app:connect("/none"), app:connect("/none")
      ada:send_raw(ping:rep(1000000))
      assert.equal("me too", (bob:ask("me too")))
      assert_closed(ada, "too many control frames")
    end)

    it("can be off", function()
      local ada = app:connect("/pings/any")
      ada:send_raw(ping:rep(5000))
      assert.equal("x", (ada:ask("x")))
    end)

    it("does not count the answers to the server's pings", function()
      local ada = app:connect("/ponged")
      for _ = 1, 20 do ada:send_text("ping me") end
      assert.is_true(ada:wait_pings(20))
      ada:send_raw(pong)
      ada:send_text("again")
      assert.is_true(ada:wait_pings(21))
      ada:send_raw(pong:rep(2))
      assert_closed(ada, "too many control frames")
    end)
  end)

  describe("that a reload changes", function()
    it("applies to live connections, paused ones too", function()
      local ada = app:connect("/pause")
      local bob = app:connect("/none")
      ada:send_raw(text("x"):rep(20))
      ada:receive_many(5)
      reloads.good(app, (app_with("rate = { messages = 2, per = 3600 },")
        :gsub('%["/pause"%] = %b{}', '["/pause"] = { rate = false }')))
      assert.equal(15, #ada:receive_many(15))
      bob:ask("1")
      bob:ask("2")
      bob:send_text("3")
      assert_closed(bob)
    end)
  end)

  it("is not the limit of tw.connect or of other connections of the client", function()
    local ada = app:connect("/close")
    for _ = 1, 5 do ada:ask("a") end
    assert.equal("x", (app:connect("/close"):ask("x")))
    assert.is_truthy(client.connect(app:url("/none")))
  end)
end)

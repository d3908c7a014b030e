-- reload_codec_spec.lua -- new code has another codec, and workers take it over one after the other.
--
-- The first worker stands still in a hook of the old code, as in a long computation, until all others have taken over.
-- Nothing of what is said across meanwhile is lost, comes twice or out of order. What a client gets has the old codec's
-- form until its worker has the new code, and the new one's from then on.

local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local WORKERS = 3

-- What old and new code share: they load it anew. A gate is open for all workers and for ever; `stand` waits for it
-- without letting anything else run.
local GATES = [[
local tw = require "tidewire"
local gates = tw.shared("gates")
local gate = {}
function gate.open(name) gates:incr(name) end
function gate.is_open(name, count) return (gates:get(name) or 0) >= (count or 1) end
function gate.stand(name, count) repeat until gate.is_open(name, count) end
function gate.wait(name) while not gate.is_open(name) do tw.sleep(0.001) end end
return gate
]]

local TOP = [[
local here, record, tw, gate = require "here", require "record", require "tidewire", require "gate"
local OTHERS = ]] .. WORKERS - 1 .. [[

local conns = tw.keep("conns", {}) -- of this worker, by their name
local ids = tw.shared("ids")       -- of all
local function note(conn)
  conns[conn.query.name] = conn
  ids:set(conn.query.name, conn.id)
  if not conn.query.outside then conn:join("hall") end
end
]]

--- The old code: "stand" is what the first worker is told, and does `lines` when all others have taken over; after
--- "act" it does so at once.
local function old_code(endpoints, lines)
  return ([[%s
    local function act(conn) %s end
    local function handle_message(conn, message)
      local word = type(message) == "string" and message:match("%%a+")
      if word == "stand" then
        gate.open("standing")
        gate.stand("swapped", OTHERS)
      end
      if word == "stand" or word == "act" then
        act(conn)
        record("acted")
      else
        conn:send(message)
      end
    end
    return {
      defaults = { validate = here.validate, ping_period = 0, handler_timeout = 60, on_start = note,
        handle_message = handle_message },
      endpoints = { %s },
    }]]):format(TOP, lines, endpoints)
end

--- The new code. The first worker loads it, the others wait until that one stands; `lines` are what the last worker
--- does as soon as it has taken over.
local function new_code(endpoints, lines)
  return ([[%s
    local function act() %s end
    return {
      defaults = { validate = here.validate, ping_period = 0, on_start = note,
        handle_message = function(conn, message) conn:send(message) end },
      endpoints = { %s },
      on_load = function()
        if tw.worker == 0 then record("loaded") else gate.wait("standing") end
      end,
      on_reload = function()
        if tw.worker == OTHERS then act() end
        if tw.worker > 0 then gate.open("swapped") end
      end,
    }]]):format(TOP, lines or "", endpoints)
end

local CODEC = '["/"] = { codec = %s }'

describe("a codec that changes under several workers", function()
  local app

  after_each(function()
    stream.close_all()
    if app then app:stop() end
    app = nil
  end)

  local function start(text)
    app = server.start({ app = text, files = { ["gate.lua"] = GATES }, workers = WORKERS })
  end

  --- `more`: a path, or more of a query.
  local function connect(worker, name, path, more)
    return app:connect_on(worker, (path or "/") .. "?name=" .. name .. (more or ""))
  end

  --- New code takes over while the worker of `peer`, the first one, stands.
  local function reload_behind(peer, text, word)
    local number = reloads.send(app, text)
    app:wait_event("loaded")
    peer:send_text(('"%s"'):format(word or "stand"))
    local outcome = reloads.wait(app, number)
    assert.is_false(outcome.failed, outcome.line)
    assert.equal(1, #app:events("acted"))
    assert.same({}, app:log_lines("script_error"))
  end

  --- These, in this order, each behind the first letter of its kind; and nothing behind them.
  local function assert_gets(peer, ...)
    peer:send_text('"over"')
    local list = {}
    while true do
      local text, kind = peer:receive()
      assert(text, kind)
      if text:find("over", 1, true) then break end
      list[#list + 1] = ("%s %s"):format(kind:sub(1, 1), text)
    end
    assert.same({ ... }, list)
  end

  it("gives those who have it already what old code says, as they have it", function()
    start(old_code(CODEC:format '"text"', [[
      local counts = { tw.room("hall"):broadcast("room"), tw.broadcast("all"),
        tw.broadcast("endpoint", { endpoint = "/" }), tw.room("hall"):broadcast("others", conn) }
      tw.send(ids:get("one"), "one")
      tw.send(ids:get("two"), "two")
      record("counts", table.unpack(counts))
    ]]))
    local zero, one, two = connect(0, "zero"), connect(1, "one"), connect(2, "two")
    reload_behind(zero, new_code(CODEC:format '"json"'))
    assert.same({ "counts", 3, 3, 3, 2, n = 5 }, app:wait_event("counts"))
    assert_gets(zero, "t room", "t all", "t endpoint")
    assert_gets(one, 't "room"', 't "all"', 't "endpoint"', 't "others"', 't "one"')
    assert_gets(two, 't "room"', 't "all"', 't "endpoint"', 't "others"', 't "two"')
  end)

  -- An own codec's `encode` is between the question who has which codec and the sending.
  for what, line in pairs { room = 'tw.room("hall"):broadcast("x")', send = 'tw.send(ids:get("one"), "x")' } do
    it("may change while a value is encoded: " .. what, function()
      local own = '["/"] = {%s}, ["/own"] = { codec = { decode = tostring, encode = function(value)%s end } }'
      start(old_code(own:format("", [[
        gate.open("standing")
        gate.stand("swapped", OTHERS)
        return "old " .. value]]), line))
      local zero, one, two = connect(0, "zero", "/own"), connect(1, "one", "/own"), connect(2, "two")
      reload_behind(zero, new_code(own:format('codec = "json"', 'return "new " .. value')), "act")
      assert_gets(one, "t new x")
      assert_gets(zero, what == "room" and "t old x" or nil)
      assert_gets(two, what == "room" and 't "x"' or nil)
    end)
  end

  it("of one's own has another form with each code", function()
    local own = '["/"] = { codec = { decode = tostring, encode = function(value) return %q .. value end } }'
    start(old_code(own:format "1 ", [[
      tw.room("hall"):broadcast("room")
      tw.broadcast("all")
      tw.send(ids:get("one"), "one")
    ]]))
    local zero, one = connect(0, "zero"), connect(1, "one")
    reload_behind(zero, new_code(own:format "2 ", 'tw.room("hall"):broadcast("new room")'))
    assert_gets(zero, "t 1 room", "t 1 all", "t 2 new room")
    assert_gets(one, "t 2 new room", "t 2 room", "t 2 all", "t 2 one")
  end)

  it("gives those who have not taken over yet what new code says, behind all that old code says", function()
    start(old_code(CODEC:format '"text"', [[
      conn:send("late")
      tw.room("hall"):broadcast("old room")
    ]]))
    local zero, one = connect(0, "zero"), connect(1, "one")
    reload_behind(zero, new_code(CODEC:format '"json"', [[
      tw.room("hall"):broadcast({ "room" })
      tw.broadcast({ "all" })
      tw.send(ids:get("zero"), { "zero" })
      tw.room("hall"):broadcast({ "room again" })
    ]]))
    assert_gets(zero, "t late", "t old room", 't ["room"]', 't ["all"]', 't ["zero"]', 't ["room again"]')
    assert_gets(one, 't ["room"]', 't ["all"]', 't ["room again"]', 't "old room"')
  end)

  it("goes to who was in the room when it was said, not when it is delivered", function()
    start(old_code(CODEC:format '"text"', [[
      conns.leaves:leave("hall")
      conns.joins:join("hall")
      conns.closes:close(4000, "bye")
      tw.room("hall"):broadcast("old")
    ]]))
    local zero, leaves, closes = connect(0, "zero"), connect(0, "leaves"), connect(0, "closes")
    local joins = connect(0, "joins", "/", "&outside=1")
    reload_behind(zero, new_code(CODEC:format '"json"', [[tw.room("hall"):broadcast({ 1 })]]))
    assert_gets(zero, "t old", "t [1]")
    assert_gets(leaves, "t [1]")
    assert_gets(joins, "t old")
    assert.equal("[1]", (closes:receive()))
    assert.equal(4000, (closes:wait_closed()))
  end)

  it("is no reason to lose what its own code can say of old code's values", function()
    start(old_code(CODEC:format '"json"', [[
      record("count", tw.room("hall"):broadcast({ 1 }), (tw.broadcast({ 2 })))
      record("send", tw.send(ids:get("one"), { 3 }))
      tw.room("hall"):broadcast("plain")
    ]]))
    local zero, one = connect(0, "zero"), connect(1, "one")
    reload_behind(zero, new_code(CODEC:format '"text"'))
    assert.same({ "count", 1, 1, n = 3 }, app:wait_event("count"))
    assert.same({ "send", nil, "refused", n = 3 }, app:wait_event("send"))
    assert_gets(zero, "t [1]", "t [2]", 't "plain"')
    assert_gets(one, "t plain")
    assert.equal(3, #app:log_lines("warn .*event=left_out"))
    assert.same({}, app:log_lines("script_error"))
  end)
end)

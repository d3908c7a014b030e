-- reload_codec_spec.lua -- new code gives an endpoint a codec of another kind: its connections are
-- closed with 1012.
--
-- Clients of other endpoints notice nothing, and the log says how many were closed. While some
-- workers have the new code and others have not yet, a client gets what its own codec has made, or
-- nothing.

local client = require "support.client"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local app

after_each(function()
  stream.close_all()
  if app then app:stop() end
  app = nil
end)

local function start(text, options)
  options = options or {}
  options.app = text
  app = server.start(options)
end

--- The next code is activated. Returns the log's line.
local function reload(text)
  local outcome = reloads.wait(app, reloads.send(app, text))
  assert.is_false(outcome.failed, outcome.line)
  return outcome.line
end

local function assert_closed(peer)
  assert.same({ "close", 1012, "codec changed" }, { select(2, peer:receive()) })
end

local OWN = '{ decode = tostring, encode = function(value) return %q .. value end }'

describe("a codec of another kind", function()
  --- An app with these codecs, by path. What a client says goes to all in its room, the first
  --- argument.
  local function app_of(version, codecs, more)
    local list = {}
    for path, codec in pairs(codecs) do
      list[#list + 1] = ("[%q] = { codec = %s }"):format(path, codec)
    end
    return ([[
      local here, record, tw = require "here", require "record", require "tidewire"
      local VERSION = %q
      local function text_of(message) return type(message) == "table" and message[1] or message end
      return {
        defaults = {
          validate = here.validate, ping_period = 0,
          on_start = function(conn) conn:join("hall") end,
          handle_message = function(conn, message)
            if text_of(message) == "hall" then
              record("count", tw.room("hall"):broadcast("to all"))
            else
              conn:send(VERSION .. text_of(message))
            end
          end,
          on_reload = function(conn) record("reload", conn.name) end,
          on_close = function(conn, code, reason)
            record("close", VERSION, conn.name, code, reason)
          end,
        },
        endpoints = { %s }, %s
      }]]):format(version, table.concat(list, ", "), more or "")
  end

  it("closes the connections of its endpoint, on all workers, and the log says how many", function()
    start(app_of("1", { ["/"] = '"text"', ["/json"] = '"json"', ["/own"] = OWN:format "a" }))
    local peers = {
      app:connect_on(0), app:connect_on(app.workers - 1), app:connect_on(app.workers - 1),
    }
    local json, own = app:connect_on(0, "/json"), app:connect_on(app.workers - 1, "/own")
    for _, peer in ipairs(peers) do assert.equal("1x", (peer:ask("x"))) end
    assert.equal('"1x"', (json:ask('["x"]')))
    assert.equal("a1x", (own:ask("x")))
    local line =
      reload(app_of("2", { ["/"] = '"json"', ["/json"] = '"json"', ["/own"] = OWN:format "b" }))
    assert.matches(' closed=3 why="codec changed"', line)
    for i, peer in ipairs(peers) do
      assert_closed(peer)
      assert.same({ "close", "2", "/", 1012, "codec changed", n = 5 }, app:wait_event("close", i))
    end
    assert.equal('"2x"', (json:ask('["x"]')))
    assert.equal("b2x", (own:ask("x")))
    local reloaded = { app:wait_event("reload")[2], app:wait_event("reload", 2)[2] }
    table.sort(reloaded) -- each by its worker
    assert.same({ "/json", "/own" }, reloaded)
    local again = app:connect_on(0)
    assert.equal('"2x"', (again:ask('["x"]')))
    again:send_text('["hall"]')
    assert.same({ '"to all"', '"to all"', "bto all" },
      { (again:receive()), (json:receive()), (own:receive()) })
    assert.same({ "count", 3, n = 2 }, app:wait_event("count"))
    assert.equal(3, #app:events("close"))
    assert.same({}, app:log_lines("script_error"))
  end)

  it("is any of text, binary, JSON and one's own, and each other", function()
    local codecs = {
      '"text"', '"binary"', '"json"', OWN:format "o", '"text"', '"json"', '"binary"',
      OWN:format "o",
    }
    start(app_of("0", { ["/"] = codecs[1] }))
    for i = 2, #codecs do
      local peer = app:connect()
      assert.matches(" closed=1 ", reload(app_of(i, { ["/"] = codecs[i] })))
      assert_closed(peer)
    end
    for i = 1, 4 do -- and none where it is the same
      reload(app_of("same", { ["/"] = codecs[i] }))
      local peer = app:connect()
      assert.is_nil(reload(app_of("again", { ["/"] = codecs[i] })):find("closed=", 1, true))
      assert.is_string((peer:ask(codecs[i] == '"json"' and '["x"]' or "x")))
      peer:close(1000)
    end
  end)

  it("changes nothing in code that is discarded", function()
    start(app_of("1", { ["/"] = '"text"' }))
    local peer = app:connect()
    local why =
      reloads.bad(app, app_of("2", { ["/"] = '"json"' }, "on_load = function() error('no') end"))
    assert.matches("no", why)
    assert.equal("1x", (peer:ask("x")))
  end)

  it("is that of a client whose handshake has begun before", function()
    start(app_of("1", { ["/"] = '"text"' }))
    local half = assert(stream.connect(app.addresses[1]))
    local request, key = client.handshake("/")
    half:write(request:sub(1, -3))
    local before = app:connect() -- its bytes have come later
    assert.equal("1x", (before:ask("x")))
    assert.matches(" closed=1 ", reload(app_of("2", { ["/"] = '"json"' })))
    half:write(request:sub(-2))
    assert.equal('"2x"', (assert(client.attach(half, key)):ask('["x"]')))
  end)

  it("lets a hook that waits end, which sends nothing any more", function()
    local WAITS = [[
      local tw, record = require "tidewire", require "record"
      return { ping_period = 0, codec = %s, handle_message = function(conn)
        record("waits")
        while not io.open("over") do tw.sleep(0.001) end
        record("sent", conn:send("late"))
      end, on_close = function(_, code) record("close", code) end }]]
    for old, new in pairs { ['"text"'] = '"json"', [OWN:format "own"] = '"text"' } do
      start(WAITS:format(old))
      local peer = app:connect()
      peer:send_text("wait")
      peer:send_text("never read")
      app:wait_event("waits")
      assert.matches(" closed=1 ", reload(WAITS:format(new)))
      assert_closed(peer)
      reloads.write(app, { over = "" })
      assert.same({ "sent", nil, "closed", n = 3 }, app:wait_event("sent"))
      assert.same({ "close", 1012, n = 2 }, app:wait_event("close"))
      assert.equal(1, #app:events("waits"))
      app:stop()
    end
  end)
end)

-- A module of old and new code. A latch is open for all workers and for ever; `spin` waits for it
-- and blocks the worker.
local LATCHES = [[
local tw = require "tidewire"
local latches = tw.shared("latches")
local latch = {}
function latch.open(name) latches:incr(name) end
function latch.is_open(name, count) return (latches:get(name) or 0) >= (count or 1) end
function latch.spin(name, count) repeat until latch.is_open(name, count) end
function latch.wait(name) while not latch.is_open(name) do tw.sleep(0.001) end end
return latch
]]

local WORKERS = 3

local TOP = [[
local here, record, tw = require "here", require "record", require "tidewire"
local latch = require "latch"
local OTHERS = ]] .. WORKERS - 1 .. [[

local ids = tw.shared("ids") -- of all connections, by their name
local function note(conn)
  ids:set(conn.query.name, conn.id)
  conn:join("hall")
  if conn.query.name == "new" then record("new") end
end
local function validate(request)
  if request.query.name == "new" then return ids:add("new is there", true), 403 end
  return here.validate(request)
end
]]

--- The old code: on "stand" the first worker blocks, and runs `lines` when all others have
--- activated the new code and the test has opened the latch "go".
local function old_code(endpoints, lines)
  return ([[%s
    return {
      defaults = { validate = validate, ping_period = 0, handler_timeout = 60, on_start = note,
        handle_message = function(conn, message)
          if message == "stand" then
            latch.open("standing")
            latch.spin("activated", OTHERS)
            record("activated")
            repeat until io.open("go")
            %s
            record("acted")
          else
            conn:send(message)
          end
        end },
      endpoints = { %s },
    }]]):format(TOP, lines, endpoints)
end

--- The new code. The first worker loads it, the others wait until it is blocked; `lines` are what
--- the last worker does as soon as it has activated it.
local function new_code(endpoints, lines)
  return ([[%s
    return {
      defaults = { validate = validate, ping_period = 0, on_start = note,
        handle_message = function(conn, message) conn:send(message) end },
      endpoints = { %s },
      on_load = function()
        if tw.worker == 0 then record("loaded") else latch.wait("standing") end
      end,
      on_reload = function()
        if tw.worker == OTHERS then %s end
        if tw.worker > 0 then latch.open("activated") end
      end,
    }]]):format(TOP, endpoints, lines or "")
end

describe("between workers of which some have the new code already", function()
  local function start_three(text)
    start(text, { files = { ["latch.lua"] = LATCHES }, workers = WORKERS })
  end

  local function connect(worker, name, path)
    return app:connect_on(worker, ("%s?name=%s"):format(path or "/", name))
  end

  --- Sends halves of handshakes, of which one is accepted: the kernel chooses their workers, and
  --- one of these will stand. Returns what completes them, and returns the client.
  local function prepare_new()
    local halves = {}
    for i = 1, 12 do
      local request, key = client.handshake("/?name=new")
      halves[i] = {
        stream = assert(stream.connect(app.addresses[1])), key = key, rest = request:sub(-2),
      }
      halves[i].stream:write(request:sub(1, -3))
    end
    local function accepted()
      for _, half in ipairs(halves) do
        if half.stream:peek():find("^HTTP/1.1 101 ") then return half end
      end
    end
    return function()
      for _, half in ipairs(halves) do half.stream:write(half.rest) end
      local half = assert(loop.wait_until(accepted))
      app:wait_event("new")
      return assert(client.attach(half.stream, half.key))
    end
  end

  --- New code is activated while the worker of `peer`, the first one, is blocked; `meanwhile` runs
  --- when all others have it.
  local function reload_behind(peer, text, meanwhile)
    local number = reloads.send(app, text)
    app:wait_event("loaded")
    peer:send_text("stand")
    app:wait_event("activated")
    if meanwhile then meanwhile() end
    reloads.write(app, { go = "" })
    local outcome = reloads.wait(app, number)
    assert.is_false(outcome.failed, outcome.line)
    assert.equal(1, #app:events("acted"))
    assert.same({}, app:log_lines("script_error"))
    return outcome.line
  end

  --- These, in this order, each behind the first letter of its kind; and then it is closed, or
  --- nothing follows.
  local function assert_gets(peer, ends, ...)
    if not ends then peer:send_text('"over"') end
    local list = {}
    while true do
      local text, kind, code, reason = peer:receive()
      if not text then
        assert.same({ true, "close", 1012, "codec changed" }, { ends, kind, code, reason })
        break
      end
      if text:find("over", 1, true) then break end
      list[#list + 1] = ("%s %s"):format(kind:sub(1, 1), text)
    end
    assert.same({ ... }, list)
  end

  it("old code reaches those of its own codecs, each in its form", function()
    local old = '["/"] = {}, ["/json"] = { codec = "json" }, ["/own"] = { codec = %s }'
    local new =
      '["/"] = { codec = "json" }, ["/json"] = { codec = "json" }, ["/own"] = { codec = %s }'
    start_three(old_code(old:format(OWN:format "old "), [[
      record("counts", tw.room("hall"):broadcast("room"), (tw.broadcast("all")))
      record("sends", tw.send(ids:get("one"), "closed"), tw.send(ids:get("new"), "new"),
        tw.send(ids:get("json"), "x"))
    ]]))
    local zero, one = connect(0, "zero"), connect(1, "one")
    local json, own, open_new = connect(1, "json", "/json"), connect(2, "own", "/own"),
      prepare_new()
    local new_one
    local line = reload_behind(zero, new_code(new:format(OWN:format "new ")), function()
      assert_gets(one, true)
      new_one = open_new()
    end)
    assert.matches(" closed=2 ", line)
    assert.same({ "counts", 4, 4, n = 3 }, app:wait_event("counts"))
    assert.same({ "sends", nil, true, true, n = 4 }, app:wait_event("sends"))
    assert_gets(zero, true, "t room", "t all")
    assert_gets(new_one, false, 't "room"', 't "all"', 't "new"')
    assert_gets(json, false, 't "room"', 't "all"', 't "x"')
    assert_gets(own, false, "t old room", "t old all") -- the form of the code that sends it
  end)

  it("old code's values reach no connection whose codec it lacks", function()
    start_three(old_code('["/"] = {}', [[
      record("counts", tw.room("hall"):broadcast("room"), (tw.broadcast("all")))
      record("send", tw.send(ids:get("new"), "x"))
    ]]))
    local zero, open_new, new_one = connect(0, "zero"), prepare_new(), nil
    reload_behind(zero, new_code('["/"] = { codec = "json" }'), function() new_one = open_new() end)
    assert.same({ "counts", 1, 1, n = 3 }, app:wait_event("counts"))
    assert.same({ "send", nil, "refused", n = 3 }, app:wait_event("send"))
    assert_gets(zero, true, "t room", "t all")
    assert_gets(new_one, false)
  end)

  it("new code's values reach no connection that is about to be closed", function()
    start_three(old_code('["/"] = {}, ["/json"] = { codec = "json" }', [[conn:send("late")]]))
    local zero, one = connect(0, "zero"), connect(1, "one")
    local json = connect(0, "json", "/json")
    reload_behind(zero, new_code('["/"] = { codec = "binary" }, ["/json"] = { codec = "json" }', [[
      tw.room("hall"):broadcast("room")
      tw.broadcast("all")
      record("send", tw.send(ids:get("zero"), "zero"))
    ]]))
    assert.same({ "send", nil, "refused", n = 3 }, app:wait_event("send"))
    assert_gets(zero, true, "t late")
    assert_gets(one, true)
    assert_gets(json, false, 't "room"', 't "all"')
  end)
end)

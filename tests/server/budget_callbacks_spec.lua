-- budget_callbacks_spec.lua -- scripts exceed their budget in every hook, timer, route and
-- callback: each is ended, and its caller gets the error. A script that only waits, or ends in
-- time, is not touched.

local cjson = require "cjson"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- What all these apps begin with. Keep `loop` on line 4.
local HEAD = [[
local tw, record, uv = require "tidewire", require "record", require "luv"
local function closed(conn, code) record("close", code) end
local function note(conn, err) record("error", err.kind, err.hook, err.traceback) return false end
local function loop() while true do end end
local function echo(conn, message) conn:send(message) end
local function burn(seconds) local from = os.clock() while os.clock() - from < seconds do end end
local app = {
  http = {}, endpoints = { ["/echo"] = { handle_message = echo } },
  defaults = { handler_timeout = 0.05 },
}
app.http["/stats"] = function() return tw.json.encode(tw.stats()) end
app.http["/slow"] = function() loop() end
app.http["/quick"] = function() return "quick" end
]]

local function start(text, options)
  options = options or {}
  options.app, options.workers = HEAD .. text .. "\nreturn app", 1
  return server.start(options)
end

local function timeouts(app)
  return cjson.decode(app:http("/stats").body).handler_timeouts
end

--- Other clients are served, and so many runs were ended and logged.
local function assert_ended(app, times)
  assert.equal("still here", (app:connect("/echo"):ask("still here")))
  assert.equal(times, timeouts(app))
  local lines = app:log_lines("handler_timeout allows 0.05 seconds")
  assert.equal(times, #lines, table.concat(lines, "\n"))
  for _, line in ipairs(lines) do
    assert.matches("app.lua:4: ended after", line, nil, line)
    assert.matches('traceback="?app%.lua:4', line)
  end
end

describe("a loop", function()
  after_each(stream.close_all)

  it("in on_start closes with 1011, whatever on_error says", function()
    local app <close> = start [[
      app.endpoints["/"] = {
        on_start = loop, handle_message = echo, on_error = note, on_close = closed,
      }]]
    assert.equal(1011, (app:connect("/"):wait_closed()))
    assert.equal(1011, app:wait_event("close")[2])
    assert.same({ "error", "timeout", "on_start" }, { table.unpack(app:wait_event("error"), 1, 3) })
    assert_ended(app, 1)
  end)

  it("in on_close is logged, and the connection closes", function()
    local app <close> = start [[app.endpoints["/"] = { on_close = loop, on_error = note }]]
    assert.equal(1000, (app:connect("/"):close(1000)))
    app:wait_for_log("event=script_error .*hook=on_close")
    assert.equal(0, cjson.decode(app:http("/stats").body).connections)
    assert_ended(app, 1)
    assert.equal(0, #app:events("error"))
  end)

  it("in on_error closes with 1011, and it is not asked again", function()
    local app <close> = start [[
      app.endpoints["/"] = {
        handle_message = function() error("first") end, on_close = closed,
        on_error = function() record("asked") loop() end,
      }]]
    local ada = app:connect("/")
    ada:send_text("x")
    assert.equal(1011, (ada:wait_closed()))
    assert.equal(1011, app:wait_event("close")[2])
    assert.equal(1, #app:events("asked"))
    assert_ended(app, 1)
  end)

  it("in on_error, after one in a hook, closes with 1011", function()
    local app <close> = start [[
      app.endpoints["/"] = {
        handle_message = loop, on_close = closed, on_error = function() record("asked") loop() end,
      }]]
    local ada = app:connect("/")
    ada:send_text("x")
    assert.equal(1011, (ada:wait_closed()))
    assert.equal(1011, app:wait_event("close")[2])
    assert.equal(1, #app:events("asked"))
    assert_ended(app, 2)
  end)

  it("in on_error, which is asked because of an undecodable message, closes with 1011", function()
    local app <close> =
      start [[app.endpoints["/"] = { codec = "json", on_close = closed, on_error = loop }]]
    local ada = app:connect("/")
    ada:send_text("{")
    assert.equal(1011, (ada:wait_closed()))
    assert_ended(app, 2) -- the second time it is asked because it took too long
  end)

  it("in the __tostring of what was thrown closes with 1011", function()
    local app <close> = start [[
      app.endpoints["/"] = {
        handle_message = function() error(setmetatable({}, { __tostring = loop })) end,
        on_close = closed,
      }]]
    local ada = app:connect("/")
    ada:send_text("x")
    assert.equal(1011, (ada:wait_closed()))
    assert_ended(app, 1)
  end)

  it("in send_ping, on_timeout and a connection's timers reaches on_error", function()
    local app <close> = start [[
      app.endpoints["/ping"] = {
        ping_period = 0.01, send_ping = loop, on_error = note, handle_message = echo,
      }
      app.endpoints["/timeout"] = { ping_period = 0, pong_period = 0.1, on_timeout = loop,
        on_error = note, handle_message = echo }
      app.endpoints["/after"] = { on_start = function(conn) conn:after(0.01, loop) end,
        on_error = note, handle_message = echo }
      app.endpoints["/every"] = { on_start = function(conn) conn:every(0.01, loop) end,
        on_error = note, handle_message = echo, on_close = closed }
      app.endpoints["/default"] = {
        on_start = function(conn) conn:after(0.01, loop) end, on_close = closed,
      }
    ]]
    local hooks = { ping = "send_ping", timeout = "on_timeout", after = "timer", every = "timer" }
    for path, hook in pairs(hooks) do
      local ada, before = app:connect("/" .. path), #app:events("error")
      local event = app:wait_event("error", before + 1)
      assert.same({ "timeout", hook }, { event[2], event[3] })
      assert.matches("app.lua:4: in ", event[4], 1, true)
      if path == "every" then app:wait_event("error", before + 3) end -- it goes on
      assert.equal("kept", (ada:ask("kept")))
      ada:close(1000)
    end
    assert.equal(1011, (app:connect("/default"):wait_closed()))
    assert.equal("still here", (app:connect("/echo"):ask("still here")))
  end)

  it("in on_drain reaches on_error", function()
    local app <close> = start [[
      app.endpoints["/"] = {
        max_backlog = "64K", slow_client = "drop", on_drain = loop, on_error = note,
        handle_message = function(conn, message)
          if message == "fill" then
            repeat tw.sleep(0) until not conn:send(("x"):rep(8000))
          else
            conn:send(message)
          end
        end,
      }]]
    local ada = app:connect("/", { receive_buffer = 4096 })
    ada:send_text("fill")
    loop.wait_until(function()
      ada:receive()
      return #app:events("error") > 0
    end)
    assert.same({ "error", "timeout", "on_drain" }, { table.unpack(app:wait_event("error"), 1, 3) })
    assert_ended(app, 1)
  end)

  it("in timers and spawned functions is logged, and a repeating timer goes on", function()
    local app <close> = start [[
      local calls = 0
      tw.after(0, loop)
      tw.spawn(loop)
      tw.spawn(pcall, loop)
      tw.every(0.01, function()
        calls = calls + 1
        record("call", calls)
        if calls <= 2 then loop() end
      end)
    ]]
    app:wait_event("call", 4)
    assert_ended(app, 5)
    assert.equal(3, #app:log_lines("event=script_error hook=timer"))
    assert.equal(2, #app:log_lines("event=script_error hook=spawn"))
  end)

  it("in a watch of a room is logged, and the watch gets further events", function()
    local app <close> = start [[
      tw.room("lobby"):watch(function(event, member)
        record(event)
        if event == "join" then loop() end
      end)
      app.endpoints["/"] = {
        on_start = function(conn) conn:join("lobby") end, handle_message = echo,
      }
    ]]
    app:connect("/"):close(1000)
    app:wait_event("leave")
    assert_ended(app, 1)
  end)

  it("in a callback of luv's is logged, and the next one is called", function()
    local app <close> = start [[
      local timer, calls = uv.new_timer(), 0
      timer:start(0, 10, function()
        calls = calls + 1
        if calls == 1 then loop() end
        if calls == 2 then while true do pcall(loop) end end
        if calls == 3 then coroutine.wrap(loop)() end
        record("call", calls)
        timer:stop()
      end)
    ]]
    assert.equal(4, app:wait_event("call")[2])
    assert_ended(app, 3)
    assert.equal(3, #app:log_lines('event=script_error hook="luv callback"'))
  end)

  it("in a route answers 500, and the next request is served", function()
    local app <close> = start ""
    assert.equal(500, app:http("/slow").status)
    assert.equal("quick", app:http("/quick").body)
    assert_ended(app, 1)
  end)

  it("in validate or origins answers 500, never 101", function()
    local app <close> = start [[
      app.endpoints["/validate"] = {
        origins = "*", validate = loop, on_start = function() record("started") end,
      }
      app.endpoints["/origins"] = {
        origins = function() loop() end, on_start = function() record("started") end,
      }
    ]]
    for _, path in ipairs { "/validate", "/origins" } do
      local peer, problem = pcall(app.connect, app, path, { origin = "https://a.test" })
      assert.is_false(peer)
      assert.matches(" 500 ", problem)
    end
    assert.equal(0, #app:events("started"))
    assert_ended(app, 2)
  end)

  it("in a codec of one's own reaches on_error", function()
    local app <close> = start [[
      app.endpoints["/decode"] = { codec = { decode = loop, encode = tostring }, on_error = note }
      app.endpoints["/encode"] = { codec = { decode = tostring, encode = loop }, on_error = note,
        handle_message = echo }
    ]]
    app:connect("/decode"):send_text("x")
    assert.equal("timeout", app:wait_event("error", 1)[2])
    app:connect("/encode"):send_text("x")
    assert.equal("timeout", app:wait_event("error", 2)[2])
    assert_ended(app, 2)
  end)

  it("in on_stop does not keep the server from its end", function()
    local app <close> = start [[app.on_stop = function() record("stop") loop() end]]
    local ada = app:connect("/echo")
    app:signal("sigterm")
    app:wait_event("stop")
    assert.equal(1001, (ada:wait_closed()))
    app.process:wait_exit()
    assert.equal(1, #app:log_lines("hook=on_stop .*app.lua:4: ended after"))
  end)

  it("in one worker is nothing to the others, and each ends its own", function()
    local app <close> = server.start({ workers = 3, app = HEAD .. [[
      tw.spawn(function() record("loops", tw.worker) loop() end)
      return app]] })
    for index = 1, 3 do app:wait_event("loops", index) end
    for worker = 0, 2 do
      assert.is_truthy(app:wait_for_log(("worker=%d event=script_error"):format(worker)))
    end
    assert_ended(app, 3)
  end)
end)

describe("the budget", function()
  after_each(stream.close_all)

  it("is new after each sleep, and sleeping takes nothing of it", function()
    local app <close> = start [[
      app.defaults.handler_timeout = 1
      app.endpoints["/"] = { handle_message = function(conn, message)
        for _ = 1, 5 do burn(0.3) tw.sleep(0.01) end
        tw.sleep(0.5)
        conn:send(message)
      end }
    ]]
    assert.equal("fine", (app:connect("/"):ask("fine")))
    assert.equal(0, timeouts(app))
  end)

  it("leaves alone what ends in time", function()
    local app <close> = start [[
      app.defaults.handler_timeout = 2
      app.endpoints["/"] = { handle_message = function(conn, message)
        burn(0.5)
        conn:send(message)
      end }
    ]]
    local ada = app:connect("/")
    for _ = 1, 3 do assert.equal("fine", (ada:ask("fine"))) end
    assert.equal(0, timeouts(app))
  end)

  it("is each endpoint's own, and that of the defaults for what belongs to none", function()
    local app <close> = start [[
      app.endpoints["/long"] = {
        handler_timeout = 30, validate = function() burn(0.2) return true end,
        on_start = function(conn)
          conn:after(0, function() burn(0.2) record("timer") end)
          coroutine.wrap(burn)(0.2)
        end,
        handle_message = function(conn, message) burn(0.2) conn:send(message) end,
      }
      app.endpoints["/short"] = { handle_message = function(conn, message)
        burn(0.2)
        conn:send(message)
      end }
    ]]
    local ada, eve = app:connect("/long"), app:connect("/short")
    assert.equal("fine", (ada:ask("fine")))
    app:wait_event("timer")
    eve:send_text("x")
    assert.equal(1011, (eve:wait_closed()))
    assert.equal(1, timeouts(app))
  end)

  it("of a bare handler holds for its functions and timers", function()
    local app <close> = server.start({ app = HEAD .. [[
      tw.after(0, function() record("timer") loop() end)
      return { handler_timeout = 0.07, handle_message = echo }]] })
    app:wait_event("timer")
    assert.is_truthy(app:wait_for_log("handler_timeout allows 0.07 seconds"))
    assert.equal("fine", (app:connect("/"):ask("fine")))
  end)

  it("may come from the environment", function()
    local app <close> = start("app.defaults = {} tw.spawn(loop)",
      { environment = { TIDEWIRE_HANDLER_TIMEOUT = "0.06" } })
    assert.is_truthy(app:wait_for_log("handler_timeout allows 0.06 seconds"))
  end)
end)

-- A search that takes as many seconds of CPU time as it is asked for, in one call of C.
local SEARCH = [[
local function search(length) return (("x"):rep(length):find(".-y")) end
local length, from = 2000, os.clock()
repeat length, from = length * 2, os.clock() search(length) until os.clock() - from > 0.05
local measured = os.clock() - from
local function long_text(seconds) return ("x"):rep(length * (seconds / measured) ^ 0.5 // 1 | 0) end
local function long_search(seconds) return search(#long_text(seconds)) end
]]

describe("one long call of C", function()
  after_each(stream.close_all)

  it("is over its time when it comes back, and the log says how long it took", function()
    local app <close> = start(SEARCH .. [[
      app.endpoints["/"] = { on_error = note, handle_message = function(conn, message)
        if message == "search" then
          long_search(0.4)
          conn:send("not ended")
        end
        conn:send(message)
      end }
    ]])
    local ada = app:connect("/")
    ada:send_text("search")
    local event = app:wait_event("error")
    assert.equal("timeout", event[2])
    assert.equal("fine", (ada:ask("fine")))
    local line = app:wait_for_log("handler_timeout allows 0.05 seconds")
    assert.is_true(tonumber(line:match("ended after ([%d.]+) seconds")) > 0.05, line)
  end)

  it("is reported, too, when no more script runs after it", function()
    local app <close> = start(SEARCH .. [[
      app.endpoints["/"] = { handle_message = function() return long_text(0.4):find(".-y") end }
    ]])
    local ada = app:connect("/")
    ada:send_text("x")
    local line = app:wait_for_log("event=script_late")
    assert.is_true(tonumber(line:match("seconds=([%d.]+)")) > 0.05, line)
    assert.matches("hook=handle_message", line)
    assert.equal(0, timeouts(app))
    assert.equal("fine", (app:connect("/echo"):ask("fine"))) -- on the same coroutine
  end)

  it("is reported in a spawned function as well", function()
    local app <close> =
      start(SEARCH .. [[tw.spawn(function() return long_text(0.4):find(".-y") end)]])
    assert.is_truthy(app:wait_for_log("event=script_late .*hook=spawn"))
  end)

  it("that does not return is reported while it runs", function()
    -- Measured longer than the others: a search that is much shorter than it should be would not be
    -- told of.
    local measured_well = SEARCH:gsub("> 0%.05", "> 0.2")
    local app <close> = start(measured_well .. [[
      app.endpoints["/"] = { handle_message = function() long_search(5) record("not ended") end }
    ]])
    local ada = app:connect_on(0, "/")
    local before = #app:log_lines("event=script_stuck") -- a search of the load, on a slow machine
    ada:send_text("search")
    assert.is_truthy(app:wait_for_log("worker=0 event=script_stuck"))
    assert.is_truthy(
      app:wait_for_log("event=script_error .*handler_timeout allows 0.05 seconds", 60))
    assert.equal(before + 1, #app:log_lines("event=script_stuck"))
    assert.equal(0, #app:events("not ended"))
  end)
end)

-- waiting_spec.lua -- hooks that wait: others are not delayed, the connection's own messages wait
-- in order, a flood of them waits in the client and not in the server, and no code of a connection
-- runs after its end.

local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- "/latch" hooks wait until the route /open is asked for.
local APP = [[
local record = require "record"
local tw = require "tidewire"
local latch = tw.shared("latch") -- for all workers

local function wait_for_latch()
  while not latch:get("open") do tw.sleep(0.005) end
end

return {
  endpoints = {
    ["/"] = { handle_message = function(conn, message) conn:send(message) end },
    ["/latch"] = {
      ping_period = 0,
      handle_message = function(conn, message)
        record("begin", message)
        wait_for_latch()
        record("end", message)
        conn:send(message)
      end,
      on_close = function(conn, code) record("close", code) end,
    },
    ["/start"] = {
      on_start = function(conn)
        record("start")
        wait_for_latch()
        conn.name_found = "ada"
        record("started")
      end,
      handle_message = function(conn, message) conn:send(conn.name_found .. " " .. message) end,
      on_close = function(conn, code) record("close", code) end,
    },
    ["/count"] = {
      ping_period = 0,
      on_start = function(conn) conn.next = 1 end,
      handle_message = function(conn, message)
        if conn.next == 1 then wait_for_latch() end
        local number = tonumber(message:sub(1, 8))
        if number ~= conn.next then record("disorder", number, conn.next) end
        conn.next = number + 1
        if message:sub(-4) == "last" then conn:send("all " .. number) end
      end,
    },
    ["/closed"] = {
      ping_period = 0,
      on_start = function(conn)
        conn:after(0.1, function() conn:close(4000, "meanwhile") end)
      end,
      handle_message = function(conn, message)
        record("begin", message)
        wait_for_latch()
      end,
      on_close = function(conn, code) record("close", code) end,
    },
    ["/timers"] = {
      handle_message = function(conn, message)
        conn:after(0.2, function() record("fired", "after") end)
        conn:every(0.05, function() record("fired", "every") end)
        if message == "close" then conn:close(4000) else conn:send("set") end
      end,
      on_close = function(conn)
        pcall(conn.after, conn, 0.01, function() record("fired", "set in on_close") end)
        record("close")
      end,
    },
    ["/sleeper"] = {
      handle_message = function(conn)
        record("begin")
        while conn:is_open() do tw.sleep(0.005) end
        record("woken", conn:is_open(), conn:send("too late"))
      end,
      on_close = function(conn, code) record("close", code) end,
    },
  },
  http = { ["/open"] = function() latch:set("open", true) return 204 end },
}
]]

describe("a hook that waits", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function()
    app:http("/open") -- so that no hook sleeps on while the server ends
    stream.close_all()
    app:stop()
  end)

  it("delays no other connection", function()
    local sleeper = app:connect("/latch")
    sleeper:send_text("one")
    app:wait_event("begin")
    local others = {}
    for index = 1, 10 do others[index] = app:connect("/latch") end
    for index, other in ipairs(others) do
      other:send_text("other " .. index)
      assert.equal("awake", (app:connect("/"):ask("awake")))
    end
    app:wait_event("begin", 11)
    assert.equal(0, #app:events("end"))
    app:http("/open")
    assert.equal("one", (sleeper:receive()))
  end)

  it("is finished before the connection's next message is handled, in order", function()
    local ada = app:connect("/latch")
    for _, message in ipairs({ "one", "two", "three" }) do ada:send_text(message) end
    app:wait_event("begin")
    assert.equal("awake", (app:connect("/"):ask("awake")))
    assert.equal("begin", app:event_names())
    app:http("/open")
    assert.same({ "one", "two", "three" }, ada:receive_many(3))
    assert.equal("begin end begin end begin end", app:event_names())
  end)

  it("of on_start holds the messages back until it is done", function()
    local ada = app:connect("/start")
    ada:send_text("first")
    ada:send_text("second")
    app:wait_event("start")
    assert.is_true(ada:is_silent(0.05))
    app:http("/open")
    assert.same({ "ada first", "ada second" }, ada:receive_many(2))
  end)

  it("is finished before on_close, even if the client is gone", function()
    local ada = app:connect("/latch")
    ada:send_text("one")
    app:wait_event("begin")
    ada:abort()
    local bob = app:connect("/start")
    app:wait_event("start")
    bob:close(1000)
    assert.equal("awake", (app:connect("/"):ask("awake")))
    assert.equal(0, #app:events("close"))
    app:http("/open")
    app:wait_event("close", 2)
    for index, event in ipairs(app:events()) do
      if event[1] == "end" then assert.is_true(index < #app:events()) end
    end
    assert.equal(1, #app:events("end"))
    assert.equal(1, #app:events("started"))
  end)

  it("still gets pings answered", function()
    local ada = app:connect("/latch")
    ada:send_text("one")
    app:wait_event("begin")
    ada:send_ping("are you there")
    assert.is_true(ada:wait_pings(1, nil, "pongs"))
  end)

  it("holds a flood back: it waits in the client, and the server's memory stays flat", function()
    local ada = app:connect("/count")
    local count, padding = 32000, ("x"):rep(1000)
    local function frame(number, tail)
      return frames.encode({
        payload = ("%08d"):format(number) .. padding .. (tail or ""), key = "\0\0\0\0",
      })
    end
    ada:send_raw(frame(1))
    assert.equal("awake", (app:connect("/"):ask("awake")))
    local before = app.process:rss_kib()
    local batch = {}
    for number = 2, count do
      batch[#batch + 1] = frame(number, number == count and "last" or "")
      if #batch == 1000 or number == count then
        ada:send_raw(table.concat(batch))
        batch = {}
      end
    end
    assert.is_false(ada.stream:flush(1), "the server took 32 MB for a hook that sleeps")
    local grown = app.process:rss_kib() - before
    if not app.process:is_sanitized() then
      assert.is_true(grown < 4096, ("memory grew by %d KiB"):format(grown))
    end
    assert.equal("awake", (app:connect("/"):ask("awake")))
    app:http("/open")
    assert.equal("all " .. count, (ada:receive(60)))
    assert.equal(0, #app:events("disorder"))
  end)

  it("does not keep the connection from being closed; messages that waited are dropped", function()
    local ada = app:connect("/closed")
    for index = 1, 500 do ada:send_text("message " .. index) end
    local code, reason = ada:wait_closed()
    assert.same({ 4000, "meanwhile" }, { code, reason })
    assert.equal("begin", app:event_names())
    app:http("/open")
    assert.equal(4000, app:wait_event("close")[2])
    assert.equal("begin close", app:event_names())
  end)

  it("that wakes after the connection's end can do no harm", function()
    local ada = app:connect("/sleeper")
    ada:send_text("x")
    app:wait_event("begin")
    ada:close(3000)
    assert.same({ "woken", false, nil, "closed", n = 4 }, app:wait_event("woken"))
    assert.equal(3000, app:wait_event("close")[2])
    assert.equal("begin woken close", app:event_names())
  end)
end)

describe("timers of a connection", function()
  local app

  before_each(function() app = server.start({ app = APP }) end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("never fire after its end, however it ended", function()
    local endings = {
      function(ada) ada:abort() end,
      function(ada) ada:close(1000) end,
      function(ada) ada:send_frame({ opcode = 3 }) end,
      function(ada) ada:drop() end,
    }
    for index, finish in ipairs(endings) do
      local ada = app:connect("/timers")
      assert.equal("set", (ada:ask("x")))
      finish(ada)
      app:wait_event("close", index)
    end
    local ada = app:connect("/timers")
    ada:send_text("close")
    assert.equal(4000, (ada:wait_closed()))
    app:wait_event("close", #endings + 1)
    -- What was recorded before an end is no fault; nothing may come after the last one.
    local fired = #app:events("fired")
    loop.pass(0.5)
    assert.equal(fired, #app:events("fired"))
    for _, event in ipairs(app:events("fired")) do assert.not_equal("set in on_close", event[2]) end
  end)

  it("keeps no memory when a crowd of functions has waited", function()
    local crowded <close> = server.start({
      app = [[
        local tw = require "tidewire"
        local ended = 0
        local function used()
          collectgarbage()
          collectgarbage()
          return math.floor(collectgarbage("count"))
        end
        return {
          handle_message = function(conn)
            local before = used()
            for _ = 1, 5000 do
              tw.spawn(function()
                tw.sleep(0.1)
                ended = ended + 1
              end)
            end
            while ended < 5000 do tw.sleep(0.05) end
            tw.sleep(0)
            conn:send(tostring(used() - before))
          end,
        }
      ]],
    })
    local kib = tonumber((crowded:connect():ask("go")))
    assert.is_true(kib < 2048, kib .. " KiB more")
  end)
end)

-- time_spec.lua -- waiting without blocking, everywhere but in validate: tw.sleep, tw.after,
-- tw.every, tw.spawn, tw.await, and luv on the worker's own loop; through pcall
-- and coroutines, too.

local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
local uv = require "luv"
local record = require "record"

tw.sleep(0.01)
record("loaded")
tw.after(0.02, function() record("after load") end)
local ticks = 0
local ticker
ticker = tw.every(0.02, function()
  ticks = ticks + 1
  record("tick", ticks)
  if ticks == 3 then ticker:cancel() end
end)

local function elapsed(f, ...)
  local start = uv.hrtime()
  f(...)
  return (uv.hrtime() - start) / 1e9
end

local function read_file(path)
  return tw.await(function(resume)
    uv.fs_open(path, "r", 438, function(err, fd)
      if err then return resume(nil, err) end
      uv.fs_read(fd, 4096, 0, function(read_error, data)
        uv.fs_close(fd)
        resume(data, read_error)
      end)
    end)
  end)
end

local does = {}

function does.sleep(conn) conn:send(elapsed(tw.sleep, 0.05) >= 0.049 and "slept" or "too early") end
does["sleep 0"] = function(conn) tw.sleep(0) conn:send("slept") end
does["sleep in pcall"] = function(conn)
  local ok, why = pcall(function() tw.sleep(0.02) error("after the sleep", 0) end)
  conn:send(tostring(ok) .. " " .. why)
end
does["sleep in xpcall"] = function(conn)
  local function handler(err) return "handled " .. err end
  local _, why = xpcall(function() tw.sleep(0.02) error("after the sleep", 0) end, handler)
  conn:send(why)
end
does["sleep in a coroutine"] = function(conn)
  local co = coroutine.wrap(function()
    tw.sleep(0.02)
    coroutine.yield("one")
    tw.sleep(0.02)
    return "two"
  end)
  conn:send(co() .. " " .. co())
end
does["sleep in an iterator"] = function(conn)
  local sum = 0
  for n in coroutine.wrap(function() for n = 1, 3 do tw.sleep(0.01) coroutine.yield(n) end end) do
    sum = sum + n
  end
  conn:send("sum " .. sum)
end
does["sleep in a metamethod"] = function(conn)
  local t = setmetatable({}, { __index = function() tw.sleep(0.01) return "slept in __index" end })
  conn:send(t.anything)
end
does["sleep in close"] = function(conn)
  do
    local _ <close> = setmetatable({}, { __close = function() tw.sleep(0.01) end })
  end
  conn:send("closed")
end
does["bad sleep"] = function(conn)
  local results = {}
  for _, value in ipairs({ "x", 0 / 0, {} }) do
    results[#results + 1] = tostring((pcall(tw.sleep, value)))
  end
  results[#results + 1] = tostring((pcall(tw.sleep)))
  conn:send(table.concat(results, " "))
end
does.after = function(conn)
  tw.after(0.03, function() conn:send("after") end)
  tw.after(0.01, function() conn:send("before") end)
end
does.cancel = function(conn)
  local timer = tw.after(0.01, function() conn:send("never") end)
  timer:cancel()
  timer:cancel()
  tw.after(0.05, function() conn:send("cancelled") end)
end
does.every = function(conn)
  local count, timer = 0, nil
  timer = tw.every(0.01, function()
    count = count + 1
    conn:send("every " .. count)
    if count == 3 then timer:cancel() end
  end)
end
does["slow every"] = function(conn)
  local inside, overlaps, count, timer = false, 0, 0, nil
  timer = tw.every(0.01, function()
    if inside then overlaps = overlaps + 1 end
    inside = true
    tw.sleep(0.03)
    inside = false
    count = count + 1
    if count == 3 then timer:cancel() conn:send("overlaps " .. overlaps) end
  end)
end
does["error in timer"] = function(conn)
  tw.after(0.01, function() error("the timer broke") end)
  local count, timer = 0, nil
  timer = tw.every(0.01, function()
    count = count + 1
    if count == 3 then timer:cancel() conn:send("went on") end
    error("every time")
  end)
end
does.spawn = function(conn)
  tw.spawn(function(a, b) tw.sleep(0.01) conn:send("spawned " .. a .. b) end, "x", "y")
  conn:send("first")
end
does["error in spawn"] = function(conn)
  tw.spawn(function() tw.sleep(0.01) error("the spawned broke") end)
  conn:send("fine")
end
does.await = function(conn)
  conn:send(read_file(conn.request.query.file) or "nothing")
end
does["await error"] = function(conn)
  local data, err = read_file("/nowhere/at/all")
  conn:send(tostring(data) .. " " .. tostring(err):match("^%u+"))
end
does["await at once"] = function(conn)
  conn:send(table.concat({ tw.await(function(resume) resume("a", "b", "c") end) }, ""))
end
does["await twice"] = function(conn)
  local value = tw.await(function(resume)
    tw.after(0.01, function() resume("first") resume("second") end)
  end)
  tw.sleep(0.05)
  conn:send(value)
end
does["await throws"] = function(conn)
  local ok, why = pcall(tw.await, function() error("could not start", 0) end)
  conn:send(tostring(ok) .. " " .. why)
end
does["luv timer"] = function(conn)
  local timer = uv.new_timer()
  timer:start(10, 0, function()
    timer:close()
    conn:send("from luv")
  end)
end
does["luv error"] = function(conn)
  local timer = uv.new_timer()
  timer:start(10, 0, function()
    timer:close()
    conn:send("about to throw")
    error("in a luv callback")
  end)
end
does["luv process"] = function(conn)
  local code = tw.await(function(resume)
    local handle
    handle = uv.spawn("/bin/sh", { args = { "-c", "exit 7" } }, function(exit_code)
      handle:close()
      resume(exit_code)
    end)
  end)
  conn:send("exit " .. code)
end
does["luv dns"] = function(conn)
  local found = tw.await(function(resume)
    uv.getaddrinfo("localhost", nil, { socktype = "stream" }, function(err, list)
      resume(not err and #list > 0)
    end)
  end)
  conn:send("found " .. tostring(found))
end

return {
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message) does[message](conn) end,
      on_error = function(conn, err) record("error", err.message) return false end,
    },
    ["/everywhere"] = {
      on_start = function(conn) tw.sleep(0.01) conn:send("start") end,
      handle_message = function(conn) tw.sleep(0.01) error("on purpose") end,
      on_error = function(conn) tw.sleep(0.01) conn:send("error") end,
      on_close = function() tw.sleep(0.01) record("closed after sleeping") end,
    },
    ["/codec"] = {
      codec = {
        decode = function(payload) return payload end,
        encode = function(value) return value, "text" end,
      },
      handle_message = function(conn, message) tw.sleep(0.01) conn:send(message) end,
    },
  },
}
]]

describe("time", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function asks(message, answer, path)
    return function()
      local ada = app:connect(path)
      assert.equal(answer, (ada:ask(message)))
    end
  end

  it("can be waited for at top level, and timers made there fire", function()
    assert.equal("loaded", app:events()[1][1])
    app:wait_event("loaded", app.workers)
    app:wait_event("after load", app.workers)
    app:wait_event("tick", 3 * app.workers)
    loop.pass(0.1)
    local ticks = {} -- by their number: in how many workers
    for _, event in ipairs(app:events("tick")) do ticks[event[2]] = (ticks[event[2]] or 0) + 1 end
    assert.same({ app.workers, app.workers, app.workers }, ticks)
  end)

  describe("tw.sleep", function()
    it("waits as long as it says", asks("sleep", "slept"))
    it("may be 0", asks("sleep 0", "slept"))
    it("works through pcall", asks("sleep in pcall", "false after the sleep"))
    it("works through xpcall", asks("sleep in xpcall", "handled after the sleep"))
    it("works in a script's own coroutines", asks("sleep in a coroutine", "one two"))
    it("works in an iterator", asks("sleep in an iterator", "sum 6"))
    it("works in a metamethod", asks("sleep in a metamethod", "slept in __index"))
    it("works in a to-be-closed variable", asks("sleep in close", "closed"))
    it("throws for an invalid time", asks("bad sleep", "false false false false"))
  end)

  describe("tw.after and tw.every", function()
    it("fire in the order of their times", function()
      local ada = app:connect()
      ada:send_text("after")
      assert.same({ "before", "after" }, ada:receive_many(2))
    end)
    it("can be cancelled, twice too", asks("cancel", "cancelled"))
    it("repeat until they are cancelled", function()
      local ada = app:connect()
      ada:send_text("every")
      assert.same({ "every 1", "every 2", "every 3" }, ada:receive_many(3))
      assert.is_true(ada:is_silent(0.1))
    end)
    it("never overlap with themselves", asks("slow every", "overlaps 0"))
    it("that throw are logged, and the next ones still fire", function()
      assert.equal("went on", (app:connect():ask("error in timer")))
      assert.is_truthy(app:wait_for_log("app%.lua:%d+: the timer broke"))
      assert.is_truthy(app:wait_for_log("app%.lua:%d+: every time"))
    end)
  end)

  describe("tw.spawn", function()
    it("runs a function beside the hook", function()
      local ada = app:connect()
      ada:send_text("spawn")
      assert.same({ "first", "spawned xy" }, ada:receive_many(2))
    end)
    it("that throws is logged and harms nothing", function()
      assert.equal("fine", (app:connect():ask("error in spawn")))
      assert.is_truthy(app:wait_for_log("app%.lua:%d+: the spawned broke"))
    end)
  end)

  describe("tw.await", function()
    it("makes a call that waits out of callbacks", function()
      local folder = process.make_directory()
      process.write_file(folder .. "/file", "read with callbacks")
      local ada = app:connect("/?file=" .. folder .. "/file")
      assert.equal("read with callbacks", (ada:ask("await")))
      process.remove_directory(folder)
    end)
    it("hands over what the callback got, errors too", asks("await error", "nil ENOENT"))
    it("may be answered at once", asks("await at once", "abc"))
    it("takes the first answer only", asks("await twice", "first"))
    it("throws what the start threw", asks("await throws", "false could not start"))
  end)

  describe("luv", function()
    it("has timers on the worker's loop", asks("luv timer", "from luv"))
    it("starts processes", asks("luv process", "exit 7"))
    it("looks names up", asks("luv dns", "found true"))
    it("with an error in a callback: logged with file and line, and the server goes on", function()
      assert.equal("about to throw", (app:connect():ask("luv error")))
      assert.is_truthy(app:wait_for_log("app%.lua:%d+: in a luv callback"))
      assert.equal("slept", (app:connect():ask("sleep 0")))
    end)
  end)

  it("can be waited for in every hook but validate", function()
    local ada = app:connect("/everywhere")
    assert.equal("start", (ada:receive()))
    assert.equal("error", (ada:ask("x")))
    ada:close(1000)
    app:wait_event("closed after sleeping")
    assert.equal("with a codec", (app:connect("/codec"):ask("with a codec")))
  end)
end)

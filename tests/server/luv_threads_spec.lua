-- luv_threads_spec.lua -- Lua code that luv runs in threads of its own: its errors become lines of
-- the log and harm nothing else.

local server = require "support.server"
local stream = require "support.stream"

-- What comes in is a chunk of Lua that runs in a hook; the answer is what it returns, as text.
local APP = [[
local environment =
  setmetatable({ tw = require "tidewire", uv = require "luv", record = require "record" },
    { __index = _G })
return {
  handle_message = function(conn, chunk)
    local results = table.pack(pcall(assert(load(chunk, "=chunk", "t", environment))))
    for i = 1, results.n do results[i] = tostring(results[i]) end
    conn:send(table.concat(results, ", "))
  end,
}
]]

describe("an error", function()
  local app, ada

  before_each(function()
    app = server.start({ app = APP, workers = 1 })
    ada = app:connect()
  end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function returns(expected, chunk)
    assert.equal("true" .. (expected == "" and "" or ", ") .. expected, (ada:ask(chunk)), chunk)
  end

  local function throws(pattern, chunk)
    assert.matches("^false, .*" .. pattern, (ada:ask(chunk)), chunk)
  end

  local function assert_logged(hook, why)
    local line =
      app:wait_for_log(('event=script_error hook="luv %s" why="?[^"]*%s'):format(hook, why))
    assert.is_truthy(line, app:log())
    assert.equal("true, still here", (ada:ask("return 'still here'")))
    for shown in app:log():gmatch("[^\n]+") do
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT", shown) -- nothing goes past the log
    end
  end

  it("in a thread is logged, and its object may be joined", function()
    returns("true", "return uv.new_thread(function() error('boom') end):join()")
    assert_logged("thread", "boom")
  end)

  it("in a thread without a reference is logged", function()
    returns("", [[
      for i = 1, 10 do uv.new_thread(function(n) error("boom " .. n, 0) end, i) end
      collectgarbage()]])
    for i = 1, 10 do assert_logged("thread", "boom " .. i .. "%f[%D]") end
  end)

  for name, case in pairs {
    ["a table"] = { "error({})", "the error is a table; throw a text" },
    ["nothing"] = { "error()", "nil" },
    ["a number"] = { "error(42)", "42" },
    ["what shows itself"] =
      { "error(setmetatable({}, { __tostring = function() return 'shown' end }))", "shown" },
    ["what throws while it is shown"] = {
      "error(setmetatable({}, { __tostring = function() error('again') end }))",
      "cannot be shown" },
    ["what is not shown as a text"] = {
      "error(setmetatable({}, { __tostring = function() return {} end }))", "cannot be shown" },
    ["a stack overflow"] = { "local function f() return 1 + f() end f()", "stack overflow" },
    ["os.exit"] = { "os.exit(1)", "os.exit: a thread cannot end the process" },
    ["a closed variable's"] = {
      "local _ <close> = setmetatable({}, { __close = function() error('closing') end })",
      "closing" },
  } do
    it("that is " .. name .. " is logged, wherever luv meets it", function()
      returns("true", ("return uv.new_thread(function() %s end):join()"):format(case[1]))
      assert_logged("thread", case[2])
      returns("true", ("return uv.new_work(function() %s end, function() record('after') "
        .. "end):queue()"):format(case[1]))
      app:wait_event("after")
      assert_logged("work", case[2])
      if name ~= "os.exit" then
        returns("0", ([[
          local timer = uv.new_timer()
          return timer:start(0, 0, function() timer:close() %s end)]]):format(case[1]))
        assert_logged("callback", case[2])
      end
    end)
  end

  it("in the callback of a work is logged", function()
    returns("true", "return uv.new_work(function() return 1 end, function(n) error('after ' .. n, "
      .. "0) end):queue()")
    assert_logged("callback", "after 1")
  end)

  it("in a callback of a thread's own loop is logged", function()
    returns("true", [[
      return uv.new_thread(function()
        local uv = require "luv"
        local timer = uv.new_timer()
        timer:start(0, 0, function() timer:close() error("in its loop", 0) end)
        uv.run()
      end):join()]])
    assert_logged("callback", "in its loop")
  end)

  it("in the callback of a handle that a thread wakes is logged", function()
    returns("true", [[
      local async async = uv.new_async(function(n) async:close() error("woken by " .. n, 0) end)
      return uv.new_thread(function(async) require("luv").async_send(async, "ada") end,
        async):join()]])
    assert_logged("callback", "woken by ada")
  end)

  it("in a thread of a thread is logged", function()
    returns("true", [[
      return uv.new_thread(function()
        require("luv").new_thread(function() error("inner", 0) end)
        collectgarbage()
        error("outer", 0)
      end):join()]])
    assert_logged("thread", "inner")
    assert_logged("thread", "outer")
  end)

  it("in a thread that a forgotten coroutine has started is logged", function()
    returns("", [[
      coroutine.wrap(function() uv.new_thread(function() error("boom", 0) end) end)()
      collectgarbage()]])
    assert_logged("thread", "boom")
    returns("", "collectgarbage()")
    assert_logged("thread", "boom")
  end)

  it("in a thread that has ended long ago lets it be joined, once", function()
    returns("", "kept = uv.new_thread(function() error('boom', 0) end)")
    assert_logged("thread", "boom")
    for _ = 1, 20 do returns("", "collectgarbage()") end -- the loop goes round
    returns("true", "return kept:join()")
    returns("nil, ESRCH: it was joined already, ESRCH", "return kept:join()")
  end)

  it("in a thread whose own threads go on is logged, and delays nothing", function()
    local path = os.tmpname()
    returns("", ([[
      uv.new_thread(function(path)
        local uv = require "luv"
        uv.new_timer():start(0, 0, function() error("not run", 0) end)
        for i = 1, 3 do
          uv.new_thread(function(path, i)
            local uv = require "luv"
            while uv.fs_stat(path) do uv.sleep(1) end
            error("inner " .. i, 0)
          end, path, i)
        end
        error("outer", 0)
      end, %q)]]):format(path))
    assert_logged("thread", "outer")
    for _ = 1, 20 do returns("", "collectgarbage()") end
    assert(os.remove(path))
    for i = 1, 3 do assert_logged("thread", "inner " .. i) end
    assert.is_nil(app:log():find("not run", 1, true))
  end)

  it("in a thread's finalizer is a warning in the log", function()
    returns("true", [[
      return uv.new_thread(function()
        setmetatable({}, { __gc = function() error("gone") end })
      end):join()]])
    assert.is_truthy(app:wait_for_log("warn .*event=script_warning .*gone"))
  end)

  it("is a thread that is started by a finalizer at the end of a thread", function()
    returns("true", [[
      return uv.new_thread(function()
        local uv = require "luv"
        held = setmetatable({}, { __gc = function() uv.new_thread(function() end) end })
      end):join()]])
    assert.is_truthy(app:wait_for_log(
      "event=script_warning .*uv.new_thread: the thread that has called it is about to end"))
  end)

  it("of using luv's threads is thrown where it is made", function()
    throws("uv.new_thread: .*thread.*:1: syntax error near", "uv.new_thread('this is not Lua')")
    throws("uv.new_work: .*thread.*:1: syntax error near", "uv.new_work('this is not Lua', print)")
    throws("uv.new_thread: at most 9 arguments",
      "uv.new_thread(function() end, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)")
    throws("uv.queue_work: at most 9 arguments",
      "uv.new_work(function() end, print):queue(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)")
    throws("not support type", "uv.new_thread(function() end, {})")
    returns("nil, ESRCH: it was joined already, ESRCH", [[
      local thread = uv.new_thread(function() end)
      assert(thread:join())
      return thread:join()]])
    returns("true", [[
      return uv.new_work(function() return 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 end,
        function() record("after") end):queue()]])
    app:wait_event("after")
    assert_logged("work", "more than 9 results")
  end)
end)

describe("threads of luv's", function()
  after_each(stream.close_all)

  local function start(entry)
    return server.start({
      app = ([[
        local uv = require "luv"
        return { handle_message = function(conn)
          uv.new_thread(function() %s end)
          conn:send("started")
        end }
      ]]):format(entry),
    })
  end

  it("that sleep are awaited when the server ends", function()
    local app <close> = start("require('luv').sleep(300) io.stderr:write('thread done\\n')")
    local ada = app:connect()
    assert.equal("started", (ada:ask("start")))
    ada:close()
    app:signal("sigterm")
    assert.equal(0, (app.process:wait_exit()))
    assert.matches("thread done", app:log())
    assert.equal(0, #app:log_lines("drain_cut_short"))
  end)

  it("have together as much memory as limits.memory allows a worker", function()
    local app <close> = server.start({
      app = APP, workers = 1, environment = { TIDEWIRE_LIMITS_MEMORY = "16M" },
    })
    local ada = app:connect()
    local kept = [[local uv = require "luv" kept = {}
      for i = 1, math.huge do kept[i] = ("x"):rep(1000) .. i end]]
    assert.equal("true, true", (ada:ask(("return uv.new_thread([=[%s]=]):join()"):format(kept))))
    assert.truthy(app:wait_for_log('hook="luv thread" why="not enough memory"'))
    assert.equal("true, true",
      (ada:ask(("return uv.new_work([=[%s]=], print):queue()"):format(kept))))
    assert.truthy(app:wait_for_log('hook="luv work" why="not enough memory"'))
    -- a thread of the pool keeps its variables
    assert.matches("^false, .*uv.new_thread: threads have all the memory that limits.memory allows",
      (ada:ask("return uv.new_thread(function() end)")))
    assert.equal("true, still here", (ada:ask("return 'still here'")))
  end)

  it("that do not end are cut off when the server ends", function()
    local app <close> = start("while true do end")
    local ada = app:connect()
    assert.equal("started", (ada:ask("start")))
    ada:close()
    app:signal("sigterm")
    assert.equal(0, (app.process:wait_exit()))
    assert.equal(1, #app:log_lines("event=drain_cut_short .*thread"))
  end)
end)

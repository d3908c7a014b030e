-- luv_spec.lua -- luv on the server's loop: forbidden calls, and handles that scripts leave open
-- when the server ends.

local server = require "support.server"
local stream = require "support.stream"

-- Freed memory is filled with other bytes, so that a use of it is seen without a sanitizer, too.
local ENVIRONMENT = { MALLOC_PERTURB_ = "165" }

local function start(app)
  return server.start({
    app = app, environment = ENVIRONMENT, options = { "--drain-seconds", "1" },
  })
end

describe("luv's functions for the whole loop", function()
  after_each(stream.close_all)

  -- uv.walk met handles that are not luv's, uv.run in a hook never came back.
  it("throw and say what to do instead, and harm nothing", function()
    local app <close> = start [[
      local uv = require "luv"
      local function try()
        local problems = {}
        for _, name in ipairs { "run", "stop", "loop_close", "walk" } do
          local ok, problem = pcall(uv[name], function(handle) handle:close() end)
          problems[#problems + 1] = ok and "nothing" or problem
        end
        return table.concat(problems, "\n")
      end
      local at_the_top = try()
      return { handle_message = function(conn, message)
        conn:send(message == "top" and at_the_top or try())
      end }
    ]]
    local ada = app:connect()
    for _, where in ipairs { "top", "hook" } do
      local problems = ada:ask(where)
      assert.matches("uv.run: .*tw.await", problems)
      assert.matches("uv.stop: .*SIGTERM", problems)
      assert.matches("uv.loop_close: .*SIGTERM", problems)
      assert.matches("uv.walk: .*in a table", problems)
    end
  end)
end)

describe("when the server ends, luv's", function()
  after_each(stream.close_all)

  it("handles that a script has left open are closed", function()
    local app <close> = start [[
      local uv = require "luv"
      local timer = uv.new_timer()
      timer:start(1, 1, function() end)
      local listener = uv.new_tcp()
      listener:bind("127.0.0.1", 0)
      listener:listen(10, function()
        local peer = uv.new_tcp()
        listener:accept(peer)
        peer:read_start(function() end)
        peer:write(("x"):rep(10000000))
      end)
      local client = uv.new_tcp()
      client:connect("127.0.0.1", listener:getsockname().port, function()
        require "record" ("connected")
      end)
      return {}
    ]]
    app:wait_event("connected")
    app:stop()
  end)

  it("handles that on_close closes are closed", function()
    local app <close> = start [[
      local uv = require "luv"
      return {
        on_start = function(conn)
          conn.timer = uv.new_timer()
          conn.timer:start(3600000, 0, function() end)
          conn:send("started")
        end,
        on_close = function(conn) conn.timer:close() end,
      }
    ]]
    local ada, bob = app:connect(), app:connect()
    bob.auto_close = false -- cut off at the end of the drain
    assert.equal("started", (ada:receive()))
    assert.equal("started", (bob:receive()))
    app:stop()
  end)

  it("requests that are under way are answered", function()
    local app <close> = start [[
      local record, uv = require "record", require "luv"
      return {
        http = { ["/"] = function() return "page" end },
        on_stop = function()
          for _ = 1, 20 do uv.fs_stat("app.lua", function(problem) record("stat", problem) end) end
        end,
      }
    ]]
    app:signal("sigterm")
    app.process:wait_exit()
    assert.equal(20 * app.workers, #app:events("stat"))
  end)

  it("requests that never end are cut off", function()
    local app <close> = start [[
      local uv = require "luv"
      os.execute("mkfifo pipe")
      -- until a process writes to it
      uv.new_work(function() io.open("pipe") end, function() end):queue()
      return {}
    ]]
    app:signal("sigterm")
    assert.equal(0, (app.process:wait_exit()))
    assert.equal(1, #app:log_lines("event=drain_cut_short"))
  end)

  -- A connection is freed before, though its hook waits.
  it("callbacks may close the coroutine of a hook that waits, whose blocks send", function()
    local app <close> = start [[
      local record, tw, uv = require "record", require "tidewire", require "luv"
      local left_open = uv.new_timer() -- closed at the very end
      local hook
      local function close_hook()
        if left_open:is_closing() then
          coroutine.close(hook)
        else
          uv.new_timer():close(close_hook)
        end
      end
      return {
        handle_message = function(conn)
          hook = coroutine.running()
          local block <close> = setmetatable({}, {
            __close = function() record("sent", conn:send("too late")) end,
          })
          close_hook()
          conn:send("waits")
          tw.sleep(3600)
        end,
      }
    ]]
    local ada = app:connect()
    assert.equal("waits", ada:ask("wait"))
    app:signal("sigterm")
    app.process:wait_exit()
    assert.same({ { "sent", nil, "closed", n = 3 } }, app:events("sent"))
  end)

  it("callbacks that open new handles again and again are cut off", function()
    local app <close> = start [[
      local uv = require "luv"
      local function open()
        local client = uv.new_tcp()
        client:connect("127.0.0.1", 1, function()
          if not client:is_closing() then client:close() end
          open()
        end)
      end
      open()
      return {}
    ]]
    app:stop()
  end)
end)

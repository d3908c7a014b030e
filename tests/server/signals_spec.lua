-- signals_spec.lua -- how the server ends: SIGTERM and SIGINT drain, a second signal ends at once,
-- and clients are closed with 1001.

local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"
local open = {}
return {
  endpoints = {
    ["/"] = {
      ping_period = 0,
      on_start = function(conn)
        open[conn.id] = conn
        record("start", tw.worker)
      end,
      handle_message = function(conn, message)
        if message == "much" then
          for index = 1, 2000 do conn:send(("%06d"):format(index) .. ("x"):rep(100)) end
          conn:send("end")
          record("sent")
        elseif message == "sleep" then
          record("asleep")
          tw.sleep(0.3)
          conn:send("slept")
          record("slept")
        elseif message == "forever" then
          record("asleep")
          tw.sleep(3600)
        else
          conn:send(message)
        end
      end,
      on_close = function(conn, code)
        open[conn.id] = nil
        record("close", tw.worker, code)
      end,
    },
  },
  http = { ["/"] = function() return "page" end },
  on_load = function() record("load", tw.worker) end,
  on_stop = function()
    record("stop", tw.worker)
    tw.sleep(0.02)
    for _, conn in pairs(open) do conn:send("the server stops") end
    record("stopped", tw.worker)
  end,
}
]]

describe("the end", function()
  after_each(stream.close_all)

  local function assert_ends_clean(app)
    local code, signal = app.process:wait_exit()
    assert.same({ 0, 0 }, { code, signal })
  end

  it("on SIGTERM calls on_stop, closes with 1001, calls every on_close, exits with 0", function()
    local app <close> = server.start({ app = APP })
    local clients = {}
    for index = 1, 20 do clients[index] = app:connect() end
    app:wait_event("start", 20)
    app:signal("sigterm")
    for _, each in ipairs(clients) do
      assert.equal("the server stops", (each:receive()))
      assert.equal(1001, (each:wait_closed()))
    end
    assert_ends_clean(app)
    for index, event in ipairs(app:events("close")) do
      assert.equal(1001, event[3], "client " .. index)
    end
    assert.equal(20, #app:events("close"))
    assert.equal(20, #app:events("start"))
    for worker = 0, app.workers - 1 do -- in each, for its clients
      local names, clients_of_it = {}, 0
      for _, event in ipairs(app:events()) do
        if event[2] == worker then
          names[#names + 1] = event[1]
          clients_of_it = clients_of_it + (event[1] == "start" and 1 or 0)
        end
      end
      assert.equal("load" .. (" start"):rep(clients_of_it) .. " stop stopped"
        .. (" close"):rep(clients_of_it),
        table.concat(names, " "))
    end
  end)

  it("on SIGINT is the same", function()
    local app <close> = server.start({ app = APP })
    local ada = app:connect()
    app:signal("sigint")
    assert.equal(1001, (ada:wait_closed()))
    assert_ends_clean(app)
  end)

  it("without clients comes at once", function()
    local app <close> = server.start({ app = APP, options = { "--drain-seconds", "3600" } })
    app:signal("sigterm")
    assert_ends_clean(app)
  end)

  it("sends queued messages first", function()
    local app <close> = server.start({ app = APP })
    local ada = app:connect()
    ada:send_text("much")
    app:wait_event("sent")
    app:signal("sigterm")
    local messages = ada:receive_many(2001)
    assert.equal("002000", messages[2000]:sub(1, 6))
    assert.equal("end", messages[2001])
    assert.equal("the server stops", (ada:receive()))
    assert.equal(1001, (ada:wait_closed()))
    assert_ends_clean(app)
  end)

  it("takes no new connections", function()
    local app <close> = server.start({ app = APP, options = { "--drain-seconds", "2" } })
    local ada = app:connect()
    ada.auto_close = false
    ada:send_text("forever")
    app:wait_event("asleep")
    app:signal("sigterm")
    assert.is_truthy(loop.wait_until(function()
      ada:step()
      return ada.close_code or ada.stream.ended
    end))
    local none, problem = client.connect(app:url("/"))
    assert.is_nil(none)
    local expected = { ECONNREFUSED = true, [503] = true, ECONNRESET = true, eof = true }
    assert.is_true(expected[problem], tostring(problem))
    app.process:wait_exit()
  end)

  it("lets a hook that sleeps come to its end, within the drain's time", function()
    local app <close> = server.start({ app = APP })
    local ada = app:connect()
    ada:send_text("sleep")
    app:wait_event("asleep")
    app:signal("sigterm")
    assert.equal(1001, (ada:wait_closed()))
    assert_ends_clean(app)
    assert.equal(1, #app:events("slept"))
    assert.equal(1, #app:events("close"))
  end)

  it("comes when --drain-seconds are over, whatever clients and hooks do", function()
    local app <close> = server.start({ app = APP, options = { "--drain-seconds", "1" } })
    local silent, sleeper, deaf =
      app:connect(), app:connect(), app:connect(nil, { receive_buffer = 4096 })
    silent.auto_close = false
    sleeper:send_text("forever")
    app:wait_event("asleep")
    deaf.stream:pause()
    for _ = 1, 5 do deaf:send_text("much") end
    app:wait_event("sent")
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit(), "the drain has no end")
    silent:drop()
  end)

  it("closes every client with 1001 even where on_stop does not end", function()
    for _, times in ipairs { 1, 2 } do
      local app <close> = server.start({
        app = [[
          local record = require "record"
          return {
            endpoints = { ["/"] = { on_close = function(_, code) record("close", code) end } },
            on_stop = function()
              record("stop")
              require "tidewire".sleep(3600)
            end,
          }
        ]],
        options = { "--drain-seconds", times == 1 and "0.5" or "3600" },
      })
      local ada = app:connect()
      app:signal("sigterm")
      app:wait_event("stop")
      if times == 2 then app:signal("sigterm") end
      assert.equal(1001, (ada:wait_closed()))
      assert_ends_clean(app)
      assert.same({ "close", 1001, n = 2 }, app:events("close")[1])
    end
  end)

  it("comes at once with a second signal", function()
    local app <close> = server.start({ app = APP, options = { "--drain-seconds", "3600" } })
    local ada = app:connect()
    ada.auto_close = false
    ada:send_text("forever")
    app:wait_event("asleep")
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("drain"))
    app:signal("sigterm")
    local code, signal = app.process:wait_exit()
    assert.is_truthy(code, "the second signal did not end it")
    app:kill() -- (its end is not to be judged as clean)
    assert.is_true(code == 0 or code == 1 or signal == 15,
      ("code %s, signal %s"):format(code, signal))
  end)

  it("is not brought by a client that writes to a closing server, nor by SIGPIPE", function()
    local app <close> = server.start({ app = APP })
    app:signal("sigpipe")
    for _ = 1, 20 do
      local ada = app:connect()
      ada:send_text("much")
      ada:abort()
    end
    assert.equal("alive", (app:connect():ask("alive")))
  end)

  it("waits for a plain HTTP answer that is under way", function()
    local app <close> = server.start({ app = APP })
    assert.equal("page", app:http("/").body)
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.is_truthy(loop.wait_until(function() return peer:peek():find("page$") end))
    app:signal("sigterm")
    peer:close()
    assert_ends_clean(app)
  end)

  it("comes by the main thread: no other one takes a signal of the process", function()
    local app <close> = server.start({ app = [[
      local uv, tw = require "luv", require "tidewire"
      return {
        on_load = function()
          assert(not pcall(io.popen, "true", "no mode"))
          uv.new_thread(function()
            local uv = require "luv"
            while not uv.fs_stat("go_on") do uv.sleep(10) end
          end)
          tw.await(function(done) uv.fs_stat(".", done) end) -- in a thread of libuv's pool
        end,
        endpoints = { ["/"] = {} },
      }
    ]] })
    local uv = require "luv"
    local others = 0
    local scan = assert(uv.fs_scandir(("/proc/%d/task"):format(app.pid)))
    for thread in function() return uv.fs_scandir_next(scan) end do
      local status = assert(process.read_file(("/proc/%d/task/%s/status"):format(app.pid, thread)))
      local blocked = tonumber(status:match("SigBlk:%s*(%x+)"), 16)
      for _, name in ipairs { "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1" } do
        local is_blocked = blocked & 1 << (uv.constants[name] - 1) ~= 0
        assert.equal(tonumber(thread) ~= app.pid, is_blocked, name .. "\n" .. status)
      end
      others = others + (tonumber(thread) == app.pid and 0 or 1)
    end
    -- each worker and its own, and one of the pool
    assert.is_true(others >= 2 * app.workers + 1, "threads are missing")
    process.write_file(app.directory .. "/go_on", "")
  end)

  it("while the script still waits at its top level comes at once", function()
    for _, signal in ipairs { "sigterm", "sigint" } do
      local app <close> = server.launch {
        app = [[
          require "record" ("loading")
          require "tidewire".sleep(3600)
          return {}
        ]],
      }
      app:wait_event("loading")
      app:signal(signal)
      assert_ends_clean(app)
    end
  end)
end)

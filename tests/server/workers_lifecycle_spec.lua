-- workers_lifecycle_spec.lua -- how several workers start and end: loading in each, failures of one
-- of them, their addresses, their log; and that a worker whose script does not return takes nothing
-- from the others.

local cjson = require "cjson"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- Two in the plain run, else the number of the run.
local WORKERS = math.max(2, tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1))

local APP = [[
local here = require "here"
local record = require "record"
local tw = require "tidewire"
record("top", tw.worker)
tw.sleep(0.01 * tw.worker)
return {
  endpoints = {
    ["/"] = {
      validate = here.validate,
      ping_period = 0,
      on_start = function(conn) conn:send("worker " .. tw.worker .. " " .. conn.remote_address) end,
      handle_message = function(conn, message)
        if message == "log" then
          tw.log.info("said by the script")
        elseif message == "loop" then
          record("loops") -- in a C function that tries everything, and that nothing can interrupt
          return ("a"):rep(60):find(("a*"):rep(12) .. "b")
        elseif message == "block" then
          record("blocks") -- in a system call, which needs no processor meanwhile
          return io.open("fifo")
        end
        conn:send(message)
      end,
      on_close = function(_, code) record("close", tw.worker, code) end,
    },
  },
  http = { ["/"] = function() return "page" end },
  on_load = function() record("load", tw.worker) end,
  on_stop = function() record("stop", tw.worker) end,
}
]]

after_each(stream.close_all)

--- How often it was recorded, by worker.
local function by_worker(app, name)
  local counts = {}
  for _, event in ipairs(app:events(name)) do counts[event[2]] = (counts[event[2]] or 0) + 1 end
  return counts
end

local function once_in_each(count)
  local counts = {}
  for worker = 0, count - 1 do counts[worker] = 1 end
  return counts
end

--- A client whose first message confirms this worker.
local function connect_on(app, worker)
  local peer = app:connect_on(worker, "/")
  assert.equal("worker " .. worker, ((peer:receive()):match("^worker %d+")))
  return peer
end

describe("several workers", function()
  it("load the app, call on_load before clients connect and on_stop at the end", function()
    local app <close> = server.start({ app = APP, workers = WORKERS })
    assert.equal(WORKERS, app.workers)
    for _, name in ipairs({ "top", "load" }) do
      assert.same(once_in_each(WORKERS), by_worker(app, name))
    end
    app:signal("sigterm")
    app.process:wait_exit()
    assert.same(once_in_each(WORKERS), by_worker(app, "stop"))
  end)

  it("tell every client 1001 at SIGTERM, and the program ends with 0", function()
    local app <close> = server.start({ app = APP, workers = WORKERS })
    local peers = {}
    for index = 1, 5 * WORKERS do peers[index] = connect_on(app, index % WORKERS) end
    app:signal("sigterm")
    for _, peer in ipairs(peers) do assert.equal(1001, (peer:wait_closed())) end
    assert.same({ 0, 0 }, { app.process:wait_exit() })
    local closes = by_worker(app, "close")
    for worker = 0, WORKERS - 1 do assert.equal(5, closes[worker]) end
    for _, event in ipairs(app:events("close")) do assert.equal(1001, event[3]) end
  end)

  it("have their number in each line of the log", function()
    local app <close> = server.start({ app = APP, workers = WORKERS })
    for worker = 0, WORKERS - 1 do assert.equal("log", (connect_on(app, worker):ask("log"))) end
    for worker = 0, WORKERS - 1 do
      local lines = app:log_lines("worker=" .. worker .. " .*said by the script")
      assert.equal(1, #lines)
    end
  end)

  it("have connections with ids of their own", function()
    local app <close> = server.start({ workers = WORKERS, app = [[
      return {
        validate = require("here").validate, on_start = function(conn) conn:send(conn.id) end,
      }
    ]] })
    local seen = {}
    for index = 1, 10 * WORKERS do
      local id = app:connect_on(index % WORKERS):receive()
      assert.is_nil(seen[id])
      seen[id] = true
    end
  end)

  it("share a unix socket", function()
    local app <close> = server.start({ app = APP, workers = WORKERS, listen = { "unix:app.sock" } })
    if not app.addresses[1].path:find("^/") then
      app.addresses[1].path = app.directory .. "/" .. app.addresses[1].path
    end
    local peers = {}
    for index = 1, 20 do
      peers[index] = app:connect("/")
      assert.matches("^worker %d unix$", (peers[index]:receive()))
    end
    for index, peer in ipairs(peers) do
      assert.equal("hello " .. index, (peer:ask("hello " .. index)))
    end
    assert.equal("page", app:http("/").body)
    app:signal("sigterm")
    for _, peer in ipairs(peers) do assert.equal(1001, (peer:wait_closed())) end
    app.process:wait_exit()
    assert.is_nil(os.rename(app.addresses[1].path, app.addresses[1].path),
      "the socket was left behind")
  end)

  it("let no second server listen beside them, however many workers it has", function()
    local app <close> = server.start({ app = APP, workers = WORKERS })
    local single <close> = server.start({ app = APP, workers = 1 })
    for _, each in ipairs({ { app, 1 }, { app, WORKERS }, { single, WORKERS } }) do
      local address = "127.0.0.1:" .. each[1].addresses[1].port
      local code, log = server.launch_to_end({ app = APP, workers = each[2], listen = { address } })
      assert.is_true(code == 1 or code == 2, tostring(code))
      assert.is_truthy(log:find(address, 1, true), log)
      assert.is_truthy(log:find(("process %d, listens there"):format(each[1].pid), 1, true), log)
      assert.is_nil(log:find("event=listening", 1, true), log)
      local peers = {}
      for index = 1, 20 do -- none of them went to the second
        peers[index] = each[1]:connect("/")
        assert.matches("^worker", (peers[index]:receive()))
      end
    end
  end)
end)

describe("a start", function()
  --- Starts it; it must end with this code, and not serve. Returns what it said.
  local function fail_to_start(app, code)
    local ended, log = server.launch_to_end({ app = app, workers = WORKERS })
    assert.equal(code, ended, log)
    assert.is_nil(log:find("event=listening", 1, true), log)
    assert.is_nil(log:find("event=ready", 1, true), log)
    return log
  end

  for _, worker in ipairs({ 0, WORKERS - 1 }) do
    it("fails where one worker cannot load, as worker " .. worker, function()
      local log = fail_to_start(([[
        local tw = require "tidewire"
        if tw.worker == %d then error("this one cannot") end
        return {}
      ]]):format(worker), 2)
      assert.matches("app%.lua:2: this one cannot", log)
      assert.equal(1, select(2, log:gsub("this one cannot", "")), log)
    end)

    it("fails where on_load fails in one worker, as in worker " .. worker, function()
      local log = fail_to_start(([[
        local tw = require "tidewire"
        return {
          on_load = function()
            if tw.worker == %d then error("this one cannot") end
            tw.sleep(0.01)
          end,
          endpoints = { ["/"] = {} },
        }
      ]]):format(worker), 2)
      assert.matches("app%.lua:4: this one cannot", log)
    end)
  end

  it("fails at once though others still wait while they load", function()
    if WORKERS < 3 then return end -- the first has loaded before the others begin
    for _, where in ipairs({
      "tw.sleep(3600) return {}", "return { on_load = function() tw.sleep(3600) end }",
    }) do
      local log = fail_to_start(([[
        local tw = require "tidewire"
        if tw.worker == 0 then return {} end
        if tw.worker == 1 then error("this one cannot") end
        %s
      ]]):format(where), 2)
      assert.matches("app%.lua:3: this one cannot", log)
      assert.is_nil(log:find("does not return", 1, true), log)
    end
  end)

  it("fails where workers differ in their endpoints or codecs, and says so", function()
    for _, endpoints in ipairs({
      '["/worker" .. tw.worker] = {}',
      '["/"] = { codec = tw.worker == 1 and "json" or "text" }',
      '["/"] = {}, ["/more"] = tw.worker == 1 and {} or nil',
    }) do
      local log = fail_to_start(([[
        local tw = require "tidewire"
        return { endpoints = { %s } }
      ]]):format(endpoints), 2)
      assert.matches("other endpoints or codecs in some workers", log)
    end
  end)

  it("is ended by a signal while workers wait at their top level", function()
    for _, first in ipairs({ "true", "tw.worker > 0" }) do
      local app <close> = server.launch({ workers = WORKERS, app = ([[
        local tw = require "tidewire"
        if %s then
          require "record" ("waits", tw.worker)
          tw.sleep(3600)
        end
        return {}
      ]]):format(first) })
      app:wait_event("waits")
      app:signal("sigterm")
      assert.same({ 0, 0 }, { app.process:wait_exit() })
    end
  end)

  it("with workers = \"auto\" has one for each processor", function()
    for _, way in ipairs({
      { app = 'return { workers = "auto", endpoints = { ["/"] = {} } }',
        environment = { TIDEWIRE_WORKERS = false } },
      { app = "return {}", options = { "--workers", "auto" } },
      { app = "return {}", environment = { TIDEWIRE_WORKERS = "auto" } },
    }) do
      local app <close> = server.start(way)
      assert.equal(uv.available_parallelism(), app.workers)
    end
  end)

  it("has as many workers as the command line says, before the environment and the app", function()
    local text = 'return { workers = 4, endpoints = { ["/"] = {} } }'
    local app <close> = server.start({ app = text, workers = 3, options = { "--workers", "2" } })
    assert.equal(2, app.workers)
    local other <close> = server.start({ app = text, workers = 3 })
    assert.equal(3, other.workers)
    local third <close> = server.start({ app = text, environment = { TIDEWIRE_WORKERS = false } })
    assert.equal(4, third.workers)
  end)

  it("with a number of workers that cannot be is refused", function()
    for _, number in ipairs({ "0", "-1", "129", "1.5", "x", "" }) do
      local code, log = server.launch_to_end({ app = APP, options = { "--workers", number } })
      assert.equal(2, code, number)
      assert.is_truthy(log:find("--workers", 1, true), log)
      assert.is_truthy(log:find("from 1 to 128", 1, true), log)
    end
  end)
end)

local function make_fifo(folder)
  assert(os.execute(("mkfifo '%s/fifo'"):format(folder)))
end

describe("a script that does not return, in one worker", function()
  it("is seen by /healthz, which names the worker", function()
    local app <close> = server.start({
      app = APP, workers = WORKERS, prepare = make_fifo, options = { "--admin", "127.0.0.1:0" },
    })
    assert.equal(200, http.request(app.admin, "/healthz").status)
    connect_on(app, 1):send_text("block")
    app:wait_event("blocks")
    local deadline = loop.now() + loop.patience
    local response
    repeat
      loop.pass(0.05)
      response = http.request(app.admin, "/healthz")
    until response.status ~= 200 or loop.now() > deadline
    assert.equal(503, response.status)
    assert.matches("^worker 1 has not answered", response.body)
    assert.equal(1, #app:log_lines("event=unhealthy .*worker 1 has not answered"))
    app:kill()
  end)

  it("takes nothing from the others, nor from the admin address; SIGTERM ends it with 1", function()
    local apps = {}
    finally(function()
      for _, app in ipairs(apps) do
        if not app.stopped then app:kill() end
      end
    end)
    for _, stuck in ipairs({ 0, WORKERS - 1 }) do
      local app = server.start({
        app = APP, workers = WORKERS, prepare = make_fifo,
        options = { "--admin", "127.0.0.1:0", "--drain-seconds", "1" },
      })
      apps[#apps + 1] = app
      local others, lost = {}, connect_on(app, stuck)
      for worker = 0, WORKERS - 1 do
        if worker ~= stuck then others[#others + 1] = connect_on(app, worker) end
      end
      lost:send_text("block")
      app:wait_event("blocks")
      for index = 1, 20 do
        for _, peer in ipairs(others) do
          assert.equal("hello " .. index, (peer:ask("hello " .. index)))
        end
        assert.equal(200, http.request(app.admin, "/readyz").status)
      end
      -- (half a second each: the server waits for the stuck worker's counts)
      for _ = 1, 2 do
        assert.equal(WORKERS, cjson.decode(http.request(app.admin, "/stats").body).connections)
      end
      -- New ones come to the others as well: the kernel gives some to the one that is stuck, which
      -- answers none.
      local sources = {}
      for index = 1, 40 do
        sources[index] = assert(stream.connect(app.addresses[1]))
        sources[index]:write((client.handshake("/")))
      end
      assert.is_truthy(loop.wait_until(function()
        for _, source in ipairs(sources) do
          if source:peek():find("^HTTP/1.1 101") then return true end
        end
      end), "no connection is accepted any more")

      app:signal("sigterm")
      for _, peer in ipairs(others) do assert.equal(1001, (peer:wait_closed())) end
    end
    for _, app in ipairs(apps) do -- seconds pass until a worker is cut off
      assert.same({ 1, 0 }, { app.process:wait_exit() })
      assert.equal(1, #app:log_lines("event=drain_over"))
      assert.equal(1, #app:log_lines("event=drain_cut_short .*a script does not return"))
      app:kill()
    end
  end)

  it("does not keep a second signal from ending the program at once", function()
    local app <close> =
      server.start({ app = APP, workers = WORKERS, options = { "--drain-seconds", "3600" } })
    local lost = connect_on(app, 1)
    lost:send_text("loop")
    app:wait_event("loops")
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("event=draining"))
    app:signal("sigterm")
    assert.same({ 1, 0 }, { app.process:wait_exit() })
    app:kill()
  end)
end)

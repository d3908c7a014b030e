-- drain_spec.lua -- the end in its phases: the lame duck, closes spread over a time, the deadline;
-- and that nothing of the server is left, whenever a signal comes. signals_spec.lua tests the plain
-- drain.

local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local tw = require "tidewire"
return {
  endpoints = {
    ["/"] = {
      ping_period = 0,
      on_start = function() record("start") end,
      handle_message = function(conn, message)
        if message == "much" then
          for index = 1, 500 do conn:send(("%06d"):format(index) .. ("x"):rep(1000)) end
          conn:send("end")
          record("sent")
        else
          conn:send(message)
        end
      end,
      on_close = function(_, code) record("close", code, tw.worker, require("luv").now()) end,
    },
  },
  http = { ["/"] = function() return "page" end },
  on_stop = function() record("stop") end,
}
]]

local function exists(path) return os.rename(path, path) ~= nil end

describe("the drain", function()
  after_each(stream.close_all)

  local function start(options, listen)
    return server.start({ app = APP, options = options, listen = listen })
  end

  local function assert_ends_clean(app)
    local code, signal = app.process:wait_exit()
    assert.same({ 0, 0 }, { code, signal })
  end

  it("answers 503 at /readyz for the lame duck's time, and still accepts connections", function()
    local app <close> = start({ "--lame-duck-seconds", "3600", "--admin", "127.0.0.1:0" },
      { "127.0.0.1:0", "unix:app.sock" })
    local ada = app:connect()
    assert.equal(200, http.request(app.admin, "/readyz").status)
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("event=lame_duck why=SIGTERM"))
    local answer = http.request(app.admin, "/readyz")
    assert.equal(503, answer.status)
    assert.is_truthy(answer.body:find("draining", 1, true))
    assert.equal(200, http.request(app.admin, "/healthz").status)
    assert.equal("hello", (ada:ask("hello")))
    local bob = app:connect()
    assert.equal("hello", (bob:ask("hello")))
    assert.equal("page", http.request({ path = app.directory .. "/app.sock" }, "/").body)
    assert.same({}, app:events("stop"))
    app:signal("sigterm") -- and a second signal does not wait for what is left of it
    assert.equal(1001, (ada:wait_closed()))
    assert.equal(1001, (bob:wait_closed()))
    assert_ends_clean(app)
    assert.is_true(#app:events("stop") > 0)
  end)

  it("begins when the lame duck's time is over, and has its own", function()
    local app <close> = start({ "--lame-duck-seconds", "0.2", "--drain-seconds", "3600" })
    local ada = app:connect()
    app:signal("sigint")
    assert.equal(1001, (ada:wait_closed()))
    assert_ends_clean(app)
    assert.is_truthy(app:log():find("lame_duck why=SIGINT.*event=draining"))
  end)

  it("takes its seconds for the lame duck from the environment, too", function()
    local app <close> =
      server.start({ app = APP, environment = { TIDEWIRE_LAME_DUCK_SECONDS = "3600" } })
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("lame_duck"))
    assert.is_true(app:is_alive())
    app:signal("sigterm")
    assert_ends_clean(app)
  end)

  it("closes no connection while an on_stop of any worker still runs", function()
    local app <close> = server.start({ app = [[
      local here = require "here"
      local tw = require "tidewire"
      return {
        defaults = { validate = here.validate, on_start = function(conn) conn:send("hello") end },
        endpoints = { ["/"] = { ping_period = 0 } },
        on_stop = function()
          if tw.worker > 0 then return end -- one stands for all
          while not io.open("go_on") do tw.sleep(0.01) end
          tw.broadcast("bye")
        end,
      }
    ]] })
    local clients = {}
    for worker = 0, app.workers - 1 do
      clients[#clients + 1] = app:connect_on(worker)
      assert.equal("hello", (clients[#clients]:receive()))
    end
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("event=draining"))
    loop.pass(0.1)
    process.write_file(app.directory .. "/go_on", "")
    for _, each in ipairs(clients) do
      assert.equal("bye", (each:receive()))
      assert.equal(1001, (each:wait_closed()))
    end
    assert_ends_clean(app)
  end)

  it("with --drain-jitter closes all with 1001, but not all in one turn", function()
    local app <close> = start({ "--drain-jitter", "2", "--drain-seconds", "3600" })
    local clients = {}
    for index = 1, 12 do clients[index] = app:connect() end
    app:wait_event("start", 12)
    app:signal("sigterm")
    for _, each in ipairs(clients) do assert.equal(1001, (each:wait_closed())) end
    assert_ends_clean(app)
    local moments, count = {}, 0
    for _, event in ipairs(app:events("close")) do
      assert.equal(1001, event[2])
      local moment = event[3] .. "@" .. event[4]
      if not moments[moment] then count = count + 1 end
      moments[moment] = true
    end
    assert.equal(12, #app:events("close"))
    -- (tests/unit/test_hub_drain.c tests how evenly, with a clock of its own)
    assert.is_true(count > 1, "12 closes came in one turn")
  end)

  it("with --drain-jitter serves connections until their 1001, and accepts none", function()
    local app <close> = start({ "--drain-jitter", "3600", "--drain-seconds", "3600" })
    local ada = app:connect()
    app:signal("sigterm")
    app:wait_event("stop")
    for _ = 1, 3 do assert.equal("still there", (ada:ask("still there"))) end
    local none, problem = client.connect(app:url("/"))
    assert.is_nil(none)
    assert.is_true(({ ECONNREFUSED = true, [503] = true, ECONNRESET = true, eof = true })[problem],
      tostring(problem))
    app:signal("sigterm")
    assert.equal(1001, (ada:wait_closed()))
    assert_ends_clean(app)
  end)

  it("with --drain-jitter sends queued messages before 1001", function()
    local app <close> = start({ "--drain-jitter", "0.1" })
    local clients = {}
    for index = 1, 3 do clients[index] = app:connect() end
    for _, each in ipairs(clients) do each:send_text("much") end
    app:wait_event("sent", 3)
    app:signal("sigterm")
    for _, each in ipairs(clients) do
      assert.equal("end", each:receive_many(501)[501])
      assert.equal(1001, (each:wait_closed()))
    end
    assert_ends_clean(app)
  end)

  it("ends by its deadline with clients that never read", function()
    local app <close> = start({ "--drain-jitter", "0.2", "--drain-seconds", "0.5" })
    local deaf = {}
    for index = 1, 6 do
      deaf[index] = app:connect(nil, { receive_buffer = 4096 })
      deaf[index].stream:pause()
      deaf[index]:send_text("much")
    end
    app:wait_event("sent", 6)
    app:signal("sigterm")
    assert_ends_clean(app)
    assert.is_truthy(app:log():find("event=drain_over"))
    assert.equal(6, #app:events("close"))
  end)

  it("leaves no socket file and no pid file", function()
    local folder = process.make_directory()
    local files = { folder .. "/app.sock", folder .. "/admin.sock", folder .. "/tidewire.pid" }
    local options = { "--admin", "unix:" .. files[2], "--pid-file", files[3] }
    for _, times in ipairs { 1, 2 } do
      local app <close> = start(options, { "unix:" .. files[1] })
      for _, path in ipairs(files) do assert.is_true(exists(path), path) end
      local ada = app:connect()
      ada.auto_close = times == 1
      app:signal("sigterm")
      if times == 2 then
        assert.is_truthy(app:wait_for_log("event=draining"))
        app:signal("sigterm")
      end
      assert_ends_clean(app)
      stream.close_all()
      for _, path in ipairs(files) do assert.is_false(exists(path), path) end
    end
    assert.is_nil(require("luv").fs_scandir_next(require("luv").fs_scandir(folder)))
    process.remove_directory(folder)
  end)

  it("is not confused by a third and a fourth signal", function()
    local app <close> = start({ "--lame-duck-seconds", "3600", "--drain-seconds", "3600" })
    local ada = app:connect()
    ada.auto_close = false
    for _ = 1, 4 do
      app:signal("sigterm")
      app:signal("sigint")
    end
    assert_ends_clean(app)
  end)

  it("can begin at any moment of the start, and leaves nothing then", function()
    local folder = process.make_directory()
    for moment = 0, 19 do
      local app = server.launch({
        app = APP,
        listen = { "unix:" .. folder .. "/app.sock" },
        options = {
          "--pid-file", folder .. "/tidewire.pid", "--admin", "unix:" .. folder .. "/admin.sock",
        },
      })
      -- Not a wait for anything: twenty different moments, of which some fall into each step of the
      -- start.
      loop.pass(moment * 0.004)
      app:signal("sigterm")
      local code, signal = app.process:wait_exit()
      -- Before it catches signals, one ends it as it ends any process.
      assert.is_true(signal == 15 or (code == 0 and signal == 0),
        ("%s %s\n%s"):format(code, signal, app:log()))
      assert.is_nil(require("luv").fs_scandir_next(require("luv").fs_scandir(folder)), app:log())
      app:kill()
    end
    process.remove_directory(folder)
  end)
end)

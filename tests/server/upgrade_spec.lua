-- upgrade_spec.lua -- a new process replaces the running one: no client is refused meanwhile,
-- clients of the old one are closed with 1001, the new one gets sockets and files; and a new one
-- that fails changes nothing.

local client = require "support.client"
local http = require "support.http"
local connect_loop = require "support.connect_loop"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
local record = require "record"
local function hang()
  record("hangs")
  local finish
  repeat finish = io.open("go_on") until finish
  finish:close()
end
return {
  endpoints = {
    ["/"] = {
      ping_period = 0,
      handler_timeout = 60,
      validate = require "here".validate,
      on_start = function(conn) conn:send("%s") end,
      handle_message = function(conn, message)
        if message == "hang" then hang() end
        conn:send(message)
      end,
    },
  },
  http = { ["/name"] = function() return "%s" end },
  on_stop = function() record("stop") end,
}
]]

-- Beside the usual number of workers there is another; both ways of a change are tried by the two
-- runs.
local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1)
local OTHER = WORKERS == 1 and 3 or 1

describe("an upgrade", function()
  local folder, pid_file
  local servers -- all that were started, the newest last

  before_each(function()
    folder = process.make_directory()
    pid_file = folder .. "/tidewire.pid"
    servers = {}
  end)

  after_each(function()
    stream.close_all()
    for index = #servers, 1, -1 do servers[index]:stop() end
    process.remove_directory(folder)
  end)

  local function options_of(name, options)
    options.app = options.app or APP:format(name, name)
    options.options = table.move(options.options or {}, 1, #(options.options or {}), 3,
      { "--pid-file", pid_file })
    return options
  end

  -- Starts a server whose clients are greeted with its name.
  local function start(name, options)
    local app = server.start(options_of(name, options or {}))
    servers[#servers + 1] = app
    return app
  end

  -- Starts a process that replaces the last, whose client (if any) is closed with 1001.
  local function upgrade(name, options, ada)
    options = options or {}
    options.options = options.options or {}
    table.insert(options.options, "--upgrade")
    local old = servers[#servers]
    local app = start(name, options)
    if ada then assert.equal(1001, (ada:wait_closed())) end
    assert.same({ 0, 0 }, { old.process:wait_exit() })
    assert.equal(app.pid, tonumber(process.read_file(pid_file)))
    return app
  end

  -- Starts one that fails, and returns its code and its log.
  local function fail(options)
    options.options = options.options or {}
    table.insert(options.options, "--upgrade")
    return server.launch_to_end(options_of("failure", options))
  end

  local function name_of(address) return http.request(address, "/name").body:match("%w+") end

  local function text_of(address)
    return address.path and "unix:" .. address.path or address.host .. ":" .. address.port
  end

  for _, change in ipairs { { WORKERS, WORKERS }, { WORKERS, OTHER, WORKERS } } do
    it("refuses no client, with " .. table.concat(change, ", then ") .. " workers", function()
      local path = folder .. "/app.sock"
      local first =
        start("first", { workers = change[1], listen = { "127.0.0.1:0", "unix:" .. path } })
      local tcp = first.addresses[1]
      local clients = {}
      for index = 1, 6 do
        clients[index] = connect_loop.start(index <= 4 and tcp or { path = path })
      end
      for round = 2, #change do
        local ada = servers[#servers]:connect()
        local count = connect_loop.wait(clients, 50)
        assert.is_string((ada:receive()))
        upgrade("next" .. round,
          { workers = change[round], listen = { text_of(tcp), "unix:" .. path } }, ada)
        connect_loop.wait(clients, count + 50)
        assert.equal("next" .. round, name_of(tcp))
        assert.equal("next" .. round, name_of({ path = path }))
      end
      assert.same({}, connect_loop.stop(clients))
    end)
  end

  it("many times in a row leaves one process, one pid file and the first sockets", function()
    local app = start("first")
    local address = app.addresses[1]
    local listening = #app.process:listening()
    for round = 1, 4 do
      app = upgrade("round" .. round, { listen = { text_of(address) } })
      assert.equal("round" .. round, name_of(address))
      assert.equal(listening, #app.process:listening())
    end
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
    assert.is_nil(uv.fs_scandir_next(uv.fs_scandir(folder)), "a file is left")
  end)

  it("keeps a free port, and sockets that no address names", function()
    local first = start("first")
    local second = upgrade("second", { listen = { "127.0.0.1:0" } })
    assert.same(first.addresses, second.addresses)
    local third = upgrade("third", { listen = {} })
    assert.same(first.addresses, third.addresses)
    assert.equal("third", name_of(first.addresses[1]))
  end)

  it("takes the admin address along, which answers for the new process", function()
    local first = start("first", { options = { "--admin", "127.0.0.1:0" } })
    local admin = text_of(first.admin)
    local second = upgrade("second",
      { listen = { text_of(first.addresses[1]) }, options = { "--admin", admin } })
    assert.same(first.admin, second.admin)
    assert.equal(200, http.request(first.admin, "/readyz").status)
    assert.is_truthy(http.request(first.admin, "/stats").body:find('"pid":' .. second.pid, 1, true))
  end)

  it("opens what is new, and ends what is not wanted any more", function()
    local old_path, new_path = folder .. "/old.sock", folder .. "/new.sock"
    local first = start("first", { listen = { "127.0.0.1:0", "127.0.0.1:0", "unix:" .. old_path } })
    local kept, dropped = first.addresses[1], first.addresses[2]
    upgrade("second", { listen = { "unix:" .. new_path, text_of(kept) } })
    assert.equal("second", name_of(kept))
    assert.equal("second", name_of({ path = new_path }))
    assert.same({ nil, "ECONNREFUSED" }, { stream.connect(dropped) })
    assert.is_nil(uv.fs_stat(old_path))
    servers[2]:signal("sigterm")
    servers[2].process:wait_exit()
    assert.is_nil(uv.fs_stat(new_path))
  end)

  it("keeps the socket file until the last one ends", function()
    local path = folder .. "/app.sock"
    start("first", { listen = { "unix:" .. path } })
    local inode = uv.fs_stat(path).ino
    local second = upgrade("second", { listen = { "unix:" .. path } })
    assert.equal(inode, uv.fs_stat(path).ino)
    second:signal("sigterm")
    second.process:wait_exit()
    assert.is_nil(uv.fs_stat(path))
  end)

  it("serves clients in the sockets' queues while no script of the old process returns", function()
    local first = start("first")
    local address = first.addresses[1]
    local hanging = {}
    for worker = 1, first.workers do
      hanging[worker] = first:connect_on(worker - 1)
    end
    for _, ada in ipairs(hanging) do ada:send_text("hang") end
    first:wait_event("hangs", first.workers)
    local waiting = {}
    for index = 1, 12 do -- (so many that each socket has some)
      waiting[index] = assert(stream.connect(address))
      waiting[index]:write((client.handshake("/")))
    end
    servers[2] = server.start(options_of("second",
      { listen = { text_of(address) }, options = { "--upgrade" } }))
    for _, peer in ipairs(waiting) do
      assert.equal(101, assert(http.read_response(peer)).status)
      assert.is_truthy(loop.wait_until(function() return peer:peek():find("second", 1, true) end))
    end
    process.write_file(first.directory .. "/go_on", "")
    for _, ada in ipairs(hanging) do
      assert.equal("first", (ada:receive()))
      assert.equal("hang", (ada:receive()))
      assert.equal(1001, (ada:wait_closed()))
    end
    assert.equal(0, first.process:wait_exit())
  end)

  it("serves connections that the old process has accepted, then closes with 1001", function()
    local first = start("first")
    local address = first.addresses[1]
    local before = first.process:fd_count()
    local peers = {}
    for index = 1, 5 do peers[index] = assert(stream.connect(address)) end
    assert.is_truthy(loop.wait_until(function() return first.process:fd_count() >= before + 5 end))
    local options =
      options_of("second", { listen = { text_of(address) }, options = { "--upgrade" } })
    servers[2] = server.launch(options)
    assert.is_truthy(first:wait_for_log("event=draining"))
    for _, peer in ipairs(peers) do peer:write((client.handshake("/"))) end
    for _, peer in ipairs(peers) do
      assert.equal(101, assert(http.read_response(peer)).status)
      peer:wait_end()
      assert.is_truthy(peer:peek():find("first", 1, true), "on_start was not called")
      assert.is_truthy(peer:peek():find("\3\233", 1, true), "no 1001") -- 0x03e9
    end
    assert.equal(0, first.process:wait_exit())
    assert.is_truthy(servers[2]:wait_for_log("event=ready"))
  end)

  it("spreads the closes where the old process was asked to", function()
    local first =
      start("first", { options = { "--drain-jitter", "3600", "--drain-seconds", "3600" } })
    local ada = first:connect()
    assert.equal("first", (ada:receive()))
    local address = first.addresses[1]
    local options =
      options_of("second", { listen = { text_of(address) }, options = { "--upgrade" } })
    servers[2] = server.start(options)
    first:wait_event("stop", first.workers)
    assert.equal("still the old one", (ada:ask("still the old one")))
    assert.equal("second", name_of(address))
    first:signal("sigterm") -- which is the second word, after the upgrade's
    assert.equal(1001, (ada:wait_closed()))
    assert.equal(0, first.process:wait_exit())
    assert.equal(servers[2].pid, tonumber(process.read_file(pid_file)),
      "the old one took the new one's file away")
    assert.is_truthy(uv.fs_stat(pid_file .. ".sock"))
  end)

  it("that fails leaves the old process as it was, and says so", function()
    local path = folder .. "/app.sock"
    local first = start("first", { listen = { "127.0.0.1:0", "unix:" .. path } })
    local taken = assert(require("socket").bind("127.0.0.1", 0))
    local taken_port = math.tointeger(tonumber((select(2, taken:getsockname()))))
    local listen = { text_of(first.addresses[1]), "unix:" .. path }
    local ada = first:connect()
    assert.equal("first", (ada:receive()))
    local code, log = fail({ app = "return {", listen = listen })
    assert.equal(2, code)
    assert.is_truthy(log:find("app.lua:1:", 1, true), log)
    code = fail({ app = "error('not today')", listen = listen })
    assert.equal(2, code)
    code, log = fail({ listen = { listen[1], listen[2], "127.0.0.1:" .. taken_port } })
    assert.equal(1, code)
    assert.is_truthy(log:find("in use", 1, true), log)
    taken:close()
    assert.equal("still there", (ada:ask("still there")))
    assert.equal("first", name_of(first.addresses[1]))
    assert.equal("first", name_of({ path = path }))
    assert.equal(first.pid, tonumber(process.read_file(pid_file)))
    assert.same({}, first:events("stop"))
    upgrade("second", { listen = listen }, ada) -- and the next one finds it
    assert.equal("second", name_of(first.addresses[1]))
  end)

  it("that a signal ends while it loads leaves the old process as it was", function()
    local first = start("first")
    local late = server.launch(options_of("late", {
      app = [[ require "record" "loading" require "tidewire".sleep(3600) return {} ]],
      listen = { text_of(first.addresses[1]) },
      options = { "--upgrade" },
    }))
    late:wait_event("loading")
    late:signal("sigterm")
    assert.equal(1, late.process:wait_exit())
    late:kill()
    assert.equal("first", name_of(first.addresses[1]))
    assert.equal(first.pid, tonumber(process.read_file(pid_file)))
  end)

  it("that is killed, at whatever moment, leaves one of the two serving", function()
    local app = start("first")
    local address = app.addresses[1]
    local clients = { connect_loop.start(address) }
    for moment = 1, 10 do
      local next_one = server.launch(options_of("next" .. moment, {
        listen = { text_of(address) },
        options = { "--upgrade" },
      }))
      -- Not a wait for anything: ten moments, of which some fall into each step.
      loop.pass(moment * 0.005)
      local has_upgraded = app:log():find("serves now", 1, true)
      if not has_upgraded then
        next_one:signal("sigkill")
        next_one.process:wait_exit()
        has_upgraded = app:log():find("serves now", 1, true)
        assert.is_true(has_upgraded ~= nil or app.process:is_running())
        next_one:kill()
      end
      if has_upgraded then
        servers[#servers + 1] = not next_one.stopped and next_one or nil
        break
      end
      assert.is_string(name_of(address))
    end
    connect_loop.stop(clients) -- (connections that a killed process had accepted are lost with it)
  end)

  it("during which SIGTERM ends the old process leaves the new one or none", function()
    local path = folder .. "/app.sock"
    local listen = { "127.0.0.1:0", "unix:" .. path }
    for moment = 1, 10 do
      local old = server.start(options_of("old", { listen = listen }))
      local next_one =
        server.launch(options_of("new", { listen = listen, options = { "--upgrade" } }))
      -- Not a wait for anything: ten moments, of which some fall into each step.
      loop.pass(moment * 0.005)
      old:signal("sigterm")
      assert.same({ 0, 0 }, { old.process:wait_exit() })
      old:stop()
      local ready = loop.wait_until(function()
        return next_one:log():find("event=ready", 1, true) or next_one.process.exit_code
      end)
      assert.is_truthy(ready)
      if next_one.process:is_running() then
        assert.equal("new", name_of({ path = path }))
        assert.equal(next_one.pid, tonumber(process.read_file(pid_file)))
        next_one:stop()
      else
        next_one:stop(1)
      end
      assert.is_nil(uv.fs_scandir_next(uv.fs_scandir(folder)),
        "a file is left, at moment " .. moment)
    end
  end)

  it("without an old process fails, and so does a second server with its pid file", function()
    local code, log = fail({})
    assert.equal(1, code)
    assert.is_truthy(log:find(pid_file .. ".sock", 1, true), log)
    local first = start("first")
    local second = server.launch(options_of("second", {}))
    assert.equal(1, second.process:wait_exit())
    assert.is_truthy(second:log():find("--upgrade replaces it", 1, true), second:log())
    second:kill()
    assert.equal(first.pid, tonumber(process.read_file(pid_file)))
    assert.equal("first", name_of(first.addresses[1]))
    first:kill() -- and a file that a killed one has left prevents nothing
    servers = {}
    start("third")
  end)

  it("cannot be requested by another user", function()
    start("first")
    local info = assert(uv.fs_stat(pid_file .. ".sock"))
    assert.equal(tonumber("600", 8), info.mode & tonumber("777", 8))
  end)
end)
